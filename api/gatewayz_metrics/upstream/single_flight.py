"""Answers shared by identical questions: one call under way at a time, reused until it ages."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Literal, TypeVar
from weakref import ref

from gatewayz_metrics.lease import Lease
from gatewayz_metrics.logs import printable
from gatewayz_metrics.memory import MemoryAccount, keep_account, start_shared

log = logging.getLogger(__name__)

T = TypeVar("T")

LookupResult = Literal["hit", "coalesced", "miss", "refresh"]


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    # What the call has reserved, held until everybody who waits for it holds it, too.
    account: MemoryAccount | None = None
    waiters: int = 0

    def close(self) -> None:
        """Hold its account no longer."""
        account, self.account = self.account, None
        if account is not None:
            account.close()


@dataclass(slots=True, weakref_slot=True)
class _Kept(Generic[T]):
    value: T
    until: float
    # Until when it may be given while another is under way; no later than `until` where it may not.
    stale_until: float

    @property
    def ends(self) -> float:
        """When it is of no use any more."""
        return max(self.until, self.stale_until)


def _never(_value: object) -> float:
    return 0.0


@dataclass(slots=True)
class SingleFlightCache(Generic[T]):
    """A bounded cache whose misses coalesce.

    `lifetime` says for how many seconds a value may be reused. The call runs in a task of
    its own: a caller that goes away takes nothing from the others, and only when the last
    one has gone is the call itself cancelled.

    A value whose lifetime is over may be given once more, and while one call for a new value runs: nobody waits for
    that, and its failure ends the old value.
    """

    lifetime: Callable[[T], float]
    clock: Callable[[], float]
    observe: Callable[[LookupResult], object] = lambda _result: None
    size: int = 256
    # What a value weighs, and what all of them may weigh together.
    weigh: Callable[[T], int] = lambda _value: 0
    capacity: int = 0
    _weight: int = 0
    _cleared: int = 0
    _kept: OrderedDict[Hashable, _Kept[T]] = field(default_factory=OrderedDict)
    _flights: dict[Hashable, _Flight[T]] = field(default_factory=dict)
    # Calls that nobody waits for.
    _refreshes: set[asyncio.Task[T]] = field(default_factory=set)

    async def get(
        self,
        key: Hashable,
        produce: Callable[[], Awaitable[T]],
        *,
        renew: bool = False,
        stale: Callable[[T], float] = _never,
    ) -> T:
        """The kept value, the value of a call under way, or that of a new call; `renew` wants none that was kept.

        `stale` says for how many seconds after its lifetime the value may be given while another is under way, counted
        from when it was asked for: what was long in coming is given no older than what came at once.
        """
        kept = None if renew else self._kept.get(key)
        if kept is not None and self.clock() < kept.until:
            self.observe("hit")
            return kept.value
        flight = self._flights.get(key)
        if kept is not None and flight is None and self.clock() < kept.stale_until:
            self.observe("refresh")
            self._refresh(key, kept, self._start(key, produce, stale))
            return kept.value
        self.observe("coalesced" if flight else "miss")
        return await self._wait(key, flight or self._start(key, produce, stale))

    def peek(self, key: Hashable) -> T | None:
        """The value that is kept, however old."""
        kept = self._kept.get(key)
        return None if kept is None else kept.value

    def lease(self, key: Hashable) -> Lease | None:
        """The lease of the value that is kept."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        found = ref(kept)

        def is_valid() -> bool:
            kept = found()
            return kept is not None and self._kept.get(key) is kept and self.clock() < kept.until

        return Lease(is_valid, partial(self.observe, "hit"))

    def discard(self, key: Hashable) -> None:
        """Forget one value; a call under way goes on."""
        if key in self._kept:
            self._weight -= self.weigh(self._kept.pop(key).value)

    def clear(self) -> None:
        """Forget every value; calls under way serve those who wait, and nobody else."""
        self._kept.clear()
        self._flights.clear()
        self._weight = 0
        self._cleared += 1

    def close(self) -> None:
        """End the calls that nobody waits for."""
        for task in self._refreshes:
            task.cancel()

    def _start(self, key: Hashable, produce: Callable[[], Awaitable[T]], stale: Callable[[T], float]) -> _Flight[T]:
        flight = self._flights[key] = _Flight(*start_shared(self._produce(key, produce, stale)))
        flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    def _refresh(self, key: Hashable, kept: _Kept[T], flight: _Flight[T]) -> None:
        """Give a value for as long as it may be while a call for another runs."""
        kept.until = kept.stale_until
        # So that those who come after that and leave do not end it.
        flight.waiters += 1
        self._refreshes.add(flight.task)

        def finish(task: asyncio.Task[T]) -> None:
            self._refreshes.discard(task)
            self._leave(key, flight)
            failure = None if task.cancelled() else task.exception()
            if failure is not None:
                log.warning("What is kept could not be refreshed: %s", printable(str(failure)))
            # Where a new value was kept, it has replaced the old one.
            if self._kept.get(key) is kept:
                self.discard(key)

        flight.task.add_done_callback(finish)

    async def _produce(self, key: Hashable, produce: Callable[[], Awaitable[T]], stale: Callable[[T], float]) -> T:
        cleared, begun = self._cleared, self.clock()
        value = await produce()
        if cleared != self._cleared:
            return value
        self.discard(key)
        lifetime = self.lifetime(value)
        if lifetime > 0 and self.weigh(value) <= self.capacity:
            self._kept[key] = _Kept(value, self.clock() + lifetime, begun + lifetime + stale(value))
            self._weight += self.weigh(value)
            self._make_room()
        return value

    def _make_room(self) -> None:
        """Let go of what has aged, oldest first, and of what is too many or too heavy."""
        while (
            len(self._kept) > self.size
            or self._weight > self.capacity
            or self.clock() >= next(iter(self._kept.values())).ends
        ):
            _, oldest = self._kept.popitem(last=False)
            self._weight -= self.weigh(oldest.value)

    async def _wait(self, key: Hashable, flight: _Flight[T]) -> T:
        flight.waiters += 1
        try:
            value = await asyncio.shield(flight.task)
            keep_account(flight.account)
            return value
        finally:
            self._leave(key, flight)

    def _leave(self, key: Hashable, flight: _Flight[T]) -> None:
        """One waiter less for a call, which ends with the last."""
        flight.waiters -= 1
        if flight.waiters == 0:
            if not flight.task.done():
                # Forgotten at once: whoever comes next must not join a call that is ending.
                self._forget(key, flight)
                flight.task.cancel()
            flight.close()

    def _forget(self, key: Hashable, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
