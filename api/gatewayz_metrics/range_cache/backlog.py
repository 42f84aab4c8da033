"""Answers that have been sent on already and whose points are still to be kept."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field

from gatewayz_metrics.memory import MemoryAccount

log = logging.getLogger(__name__)

# Answers that may wait.
_MOST = 64
# Seconds without a range query, after which nobody is in the middle of one: the last answer is on its way.
_QUIET = 0.03
# Seconds after which work is begun all the same.
_LONGEST_LEAD = 1.0


@dataclass(slots=True)
class _Job:
    key: Hashable
    size: int
    work: Callable[[], Awaitable[None]]
    account: MemoryAccount | None
    # When it is begun at the latest, on the monotonic clock.
    due: float
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Backlog:
    """Work that is done after answers have gone out, one piece after the other, for as long as there is any.

    The panels of a dashboard are asked for together: all of them go out before the first is taken apart. Measured: with
    that beside it, an answer of 6 MB takes a quarter longer. `capacity` is how many bytes may wait. It belongs to one
    event loop; `aclose` ends it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._jobs: deque[_Job] = deque()
        self._size = 0
        self._worker: asyncio.Task[None] | None = None
        self._answers = 0
        self._last_answer = 0.0

    @contextmanager
    def making_way(self) -> Iterator[None]:
        """An answer is made in the block, and goes out soon after it."""
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1
            self._last_answer = time.monotonic()

    def has_room(self, size: int) -> bool:
        """Whether work that holds `size` bytes may wait."""
        return len(self._jobs) < _MOST and self._size + size <= self._capacity

    def add(self, key: Hashable, size: int, work: Callable[[], Awaitable[None]], account: MemoryAccount | None) -> None:
        """Do some work soon; its `account` is closed afterwards. What it raises is logged."""
        self._jobs.append(_Job(key, size, work, account, time.monotonic() + _LONGEST_LEAD))
        self._size += size
        if self._worker is None:
            # Not in the context of the request, which is over before.
            self._worker = asyncio.create_task(self._run(), context=Context())

    async def wait(self, key: Hashable) -> None:
        """Return when nothing waits for a key any longer; what does is next."""
        if waiting := [job for job in self._jobs if job.key == key]:
            running, *others = self._jobs
            # The first may be under way. Those of one key stay in order: of two readings of a point the later one
            # counts.
            first = [running, *(job for job in others if job.key == key)]
            self._jobs = deque([*first, *(job for job in others if job.key != key)])
            for job in first:
                job.wanted.set()
            await waiting[-1].done.wait()

    async def aclose(self) -> None:
        """Leave off, and take nothing more: what is not kept by now is asked for again."""
        self._capacity = -1
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.wait([worker])
        while self._jobs:
            self._finish()

    async def _run(self) -> None:
        try:
            while self._jobs:
                try:
                    await self._give_way(self._jobs[0])
                    await self._jobs[0].work()
                except Exception:
                    # Nobody waits for the answer any longer, and the next request asks again.
                    log.exception("The points of a range query were not kept.")
                self._finish()
        finally:
            self._worker = None

    async def _give_way(self, job: _Job) -> None:
        """Let answers go out first, unless somebody wants already what is to be kept."""
        while not job.wanted.is_set() and time.monotonic() < job.due:
            if not self._answers and time.monotonic() >= self._last_answer + _QUIET:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_QUIET):
                    await job.wanted.wait()

    def _finish(self) -> None:
        job = self._jobs.popleft()
        self._size -= job.size
        if job.account is not None:
            job.account.close()
        job.done.set()
