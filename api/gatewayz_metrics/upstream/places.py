"""Places at the upstream, shared fairly among those who ask and among kinds of questions.

There are as many places as PROMETHEUS_CONNECTIONS, so a request with a place never waits for a connection.

- Kinds keep apart: long range queries leave places to short questions, and both leave some to the catalogue.
- No principal takes the last places of a kind: it gets a place while it holds less than twice as many as are
  left (dynamic thresholds, https://doi.org/10.1109/90.664262). Alone it reaches two thirds of the places; a group
  of principals behind one token or address reaches four fifths.
- Who waits and holds the fewest places is next; among equals, whoever was served longest ago.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from gatewayz_metrics.errors import PoolExhausted, ServiceError, TooBusy
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.deadline import Deadline
from gatewayz_metrics.upstream.principal import Principal, current_principal

# How many times what is left a principal, and its group, may hold.
_PRINCIPAL_FACTOR = 2
_GROUP_FACTOR = 4
# Questions of one group that may wait; more are told at once.
_MOST_WAITING = 500


class QueryKind(IntEnum):
    """Kinds of questions; each leaves places to those before it."""

    CATALOGUE = 0
    SHORT = 1
    LONG = 2

    @property
    def slug(self) -> str:
        """The label that our own metrics carry."""
        return self.name.lower()


Queue = tuple[Principal, QueryKind]


@dataclass
class FairPlaces:
    """The places of one upstream; it belongs to one event loop."""

    # How many places questions of a kind, and of the kinds after it, may hold together.
    limits: dict[QueryKind, int]
    telemetry: Telemetry
    _held: Counter[Queue] = field(default_factory=Counter)
    _by_kind: Counter[QueryKind] = field(default_factory=Counter)
    # Waiting futures; they are in the order in which their queues were served last, longest ago first.
    _waiting: dict[Queue, deque[asyncio.Future[bool]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Looked up once, and not with every request.
        self._gauges = {
            kind: [self.telemetry.places.labels(kind.slug, state) for state in ("waiting", "held")]
            for kind in QueryKind
        }

    @classmethod
    def of(cls, settings: Settings, telemetry: Telemetry) -> "FairPlaces":
        """The places that the settings allow: a fifth for the catalogue alone, a quarter of the rest for short ones."""
        places = settings.prometheus_connections
        queries = min(settings.max_concurrent_queries, places - _reserve(places, 5))
        long = queries - _reserve(queries, 4)
        return cls({QueryKind.CATALOGUE: places, QueryKind.SHORT: queries, QueryKind.LONG: long}, telemetry)

    @asynccontextmanager
    async def hold(self, kind: QueryKind, deadline: Deadline) -> AsyncIterator[None]:
        """Hold a place for the running principal. Raises TooBusy, or PoolExhausted for the catalogue."""
        queue = current_principal(), kind
        await self._acquire(queue, deadline)
        try:
            yield
        finally:
            self._release(queue)

    async def _acquire(self, queue: Queue, deadline: Deadline) -> None:
        if not self._waiting and self._may_have_one(queue):
            self._take(queue)
            return
        if self._count_waiting(queue[0].group) >= _MOST_WAITING:
            raise self._refusal(queue[1])
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(queue, deque()).append(granted)
        self._grant()
        if granted.done():
            return
        self._show(queue[1])
        expiry = asyncio.get_running_loop().call_later(deadline.remaining_wait, self._give_up, queue, granted)
        try:
            if not await granted:
                raise self._refusal(queue[1])
        except asyncio.CancelledError:
            # It may have been granted in the very moment in which its caller went away.
            if granted.done() and not granted.cancelled() and granted.result():
                self._release(queue)
            else:
                self._forget(queue, granted)
            raise
        finally:
            expiry.cancel()
            self._show(queue[1])

    def _release(self, queue: Queue) -> None:
        kind = queue[1]
        self._held[queue] -= 1
        if not self._held[queue]:
            del self._held[queue]
        self._by_kind[kind] -= 1
        self._grant()
        self._show(kind)

    def _grant(self) -> None:
        """Give places to those who wait, as long as somebody may have one."""
        while True:
            allowed = [queue for queue in self._waiting if self._may_have_one(queue)]
            if not allowed:
                return
            queue = min(allowed, key=self._rank)
            waiting = self._waiting.pop(queue)
            granted = waiting.popleft()
            if waiting:
                self._waiting[queue] = waiting  # behind all others
            if granted.cancelled():
                continue
            granted.set_result(True)
            self._take(queue)

    def _take(self, queue: Queue) -> None:
        self._held[queue] += 1
        self._by_kind[queue[1]] += 1
        self._show(queue[1])

    def _may_have_one(self, queue: Queue) -> bool:
        principal, kind = queue
        left = min(limit - self._taken(least) for least, limit in self.limits.items() if least <= kind)
        return (
            self._held[queue] < _PRINCIPAL_FACTOR * left
            and self._held_by_group(principal.group, kind) < _GROUP_FACTOR * left
        )

    def _rank(self, queue: Queue) -> tuple[int, int, int, QueryKind]:
        """Who is next: the least comes first."""
        principal, kind = queue
        of_principal = sum(self._held[principal, each] for each in QueryKind)
        return self._held_by_group(principal.group), of_principal, self._held[queue], kind

    def _taken(self, least: QueryKind) -> int:
        """Places held by a kind and those after it."""
        return sum(count for kind, count in self._by_kind.items() if kind >= least)

    def _held_by_group(self, group: str, kind: QueryKind | None = None) -> int:
        return sum(
            count for (principal, of), count in self._held.items() if principal.group == group and kind in (None, of)
        )

    def _count_waiting(self, group: str) -> int:
        return sum(len(waiting) for (principal, _), waiting in self._waiting.items() if principal.group == group)

    def _give_up(self, queue: Queue, granted: asyncio.Future[bool]) -> None:
        if not granted.done():
            self._forget(queue, granted)
            granted.set_result(False)

    def _forget(self, queue: Queue, granted: asyncio.Future[bool]) -> None:
        waiting = self._waiting.get(queue)
        if waiting and granted in waiting:
            waiting.remove(granted)
            if not waiting:
                del self._waiting[queue]

    def _refusal(self, kind: QueryKind) -> ServiceError:
        self.telemetry.place_refusals.labels(kind.slug).inc()
        return PoolExhausted() if kind is QueryKind.CATALOGUE else TooBusy(self.limits[kind])

    def _show(self, kind: QueryKind) -> None:
        waiting, held = self._gauges[kind]
        waiting.set(sum(len(futures) for (_, of), futures in self._waiting.items() if of is kind))
        held.set(self._by_kind[kind])


def _reserve(places: int, share: int) -> int:
    """How many of some places are kept free for others: one in `share`, none of a single one."""
    return max(1, places // share) if places > 1 else 0
