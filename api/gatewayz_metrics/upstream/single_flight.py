"""Answers shared by identical questions: one call under way at a time, reused until it ages."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Literal, TypeVar
from weakref import ref

from gatewayz_metrics.lease import Lease
from gatewayz_metrics.memory import MemoryAccount, keep_account, start_shared

T = TypeVar("T")

LookupResult = Literal["hit", "coalesced", "miss"]


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


@dataclass(slots=True)
class SingleFlightCache(Generic[T]):
    """A bounded cache whose misses coalesce.

    `lifetime` says for how many seconds a value may be reused. The call runs in a task of
    its own: a caller that goes away takes nothing from the others, and only when the last
    one has gone is the call itself cancelled.
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

    async def get(self, key: Hashable, produce: Callable[[], Awaitable[T]], *, renew: bool = False) -> T:
        """The kept value, the value of a call under way, or that of a new call; `renew` wants none that was kept."""
        kept = None if renew else self._kept.get(key)
        if kept is not None and self.clock() < kept.until:
            self.observe("hit")
            return kept.value
        flight = self._flights.get(key)
        self.observe("coalesced" if flight else "miss")
        if flight is None:
            flight = self._flights[key] = _Flight(*start_shared(self._produce(key, produce)))
            flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return await self._wait(key, flight)

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

    async def _produce(self, key: Hashable, produce: Callable[[], Awaitable[T]]) -> T:
        cleared = self._cleared
        value = await produce()
        if cleared != self._cleared:
            return value
        self.discard(key)
        lifetime = self.lifetime(value)
        if lifetime > 0 and self.weigh(value) <= self.capacity:
            self._kept[key] = _Kept(value, self.clock() + lifetime)
            self._weight += self.weigh(value)
            self._make_room()
        return value

    def _make_room(self) -> None:
        """Let go of what has aged, oldest first, and of what is too many or too heavy."""
        while (
            len(self._kept) > self.size
            or self._weight > self.capacity
            or self.clock() >= next(iter(self._kept.values())).until
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
