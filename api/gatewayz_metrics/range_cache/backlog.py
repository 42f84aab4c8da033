"""Answers that have been sent on already and whose points are still to be kept."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from dataclasses import dataclass

from gatewayz_metrics.memory import MemoryAccount

log = logging.getLogger(__name__)

# Answers that may wait.
_MOST = 64


@dataclass(slots=True)
class _Job:
    key: Hashable
    size: int
    work: Callable[[], Awaitable[None]]
    account: MemoryAccount | None
    done: asyncio.Event


class Backlog:
    """Work that is done after answers have gone out, one piece after the other, for as long as there is any.

    `capacity` is how many bytes may wait. It belongs to one event loop; `aclose` ends it.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._jobs: deque[_Job] = deque()
        self._size = 0
        self._worker: asyncio.Task[None] | None = None

    def has_room(self, size: int) -> bool:
        """Whether work that holds `size` bytes may wait."""
        return len(self._jobs) < _MOST and self._size + size <= self._capacity

    def add(self, key: Hashable, size: int, work: Callable[[], Awaitable[None]], account: MemoryAccount | None) -> None:
        """Do some work soon; its `account` is closed afterwards. What it raises is logged."""
        self._jobs.append(_Job(key, size, work, account, asyncio.Event()))
        self._size += size
        if self._worker is None:
            # Not in the context of the request, which is over before.
            self._worker = asyncio.create_task(self._run(), context=Context())

    async def wait(self, key: Hashable) -> None:
        """Return when nothing waits for a key any longer; what does is next."""
        if waiting := [job for job in self._jobs if job.key == key]:
            running, *others = self._jobs
            # The first is under way. Those of one key stay in order: of two readings of a point the later one counts.
            self._jobs = deque([running, *(job for job in others if job.key == key)])
            self._jobs.extend(job for job in others if job.key != key)
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
                    await self._jobs[0].work()
                except Exception:
                    # Nobody waits for the answer any longer, and the next request asks again.
                    log.exception("The points of a range query were not kept.")
                self._finish()
        finally:
            self._worker = None

    def _finish(self) -> None:
        job = self._jobs.popleft()
        self._size -= job.size
        if job.account is not None:
            job.account.close()
        job.done.set()
