"""Range queries that were too slow to be answered at once are asked for in pieces, each kept when it arrives.

A query is asked for as a whole until that has failed once: quick ones never cost more requests than one.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from gatewayz_metrics.errors import TimedOut, UpstreamError
from gatewayz_metrics.range_cache.matrix import Matrix
from gatewayz_metrics.range_cache.plan import Coverage, FetchPlan, clip, find_gaps
from gatewayz_metrics.upstream.deadline import Deadline
from gatewayz_metrics.upstream.request import ApiResponse

# Seconds that a piece should take, and what it may take of the deadline at most: a client that leaves loses one piece.
_PIECE_SECONDS = 5.0
_DEADLINE_SHARE = 1 / 8
# A query that everybody left after so many seconds is too slow for them, whatever our deadline says.
_ABANDONED_SECONDS = 5.0
# Points of a piece at least: what an expression reads before its first point is read again for each piece.
_SMALLEST_PIECE = 10
# A quick piece may be chance, such as data that were not there yet.
_LARGEST_GROWTH = 4.0
# Seconds; Grafana's proxy gives up after 30, https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/.
DASHBOARD_PATIENCE = 25.0
# Queries that are remembered; beyond, what was used longest ago is forgotten.
_MOST_QUERIES = 1000


@dataclass(frozen=True, slots=True)
class FetchedPiece:
    """An answer of the upstream, taken apart where it can be put together with others."""

    raw: ApiResponse
    matrix: Matrix | None
    # Why it was not stored.
    reason: str = ""
    # The bytes that it takes apart, about.
    size: int = 0


@dataclass(frozen=True, slots=True)
class FetchedPieces:
    """The pieces that came, and why not all that were asked for did."""

    pieces: Sequence[FetchedPiece]
    error: UpstreamError | None = None


class SlowQueries:
    """The queries that took too long, and how many of their points the upstream computes in a second at most.

    `deadline` is in seconds, the clock in monotonic seconds.
    """

    def __init__(self, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._deadline = deadline
        self._target = min(_PIECE_SECONDS, deadline * _DEADLINE_SHARE)
        self._clock = clock
        self._speeds: OrderedDict[Hashable, float] = OrderedDict()

    def points_at_once(self, key: Hashable) -> float:
        """How many points of a query are to be asked for in one piece; all of them when it was never slow."""
        speed = self._speeds.get(key)
        return inf if speed is None else max(_SMALLEST_PIECE, int(speed * self._target))

    async def fetch(
        self,
        key: Hashable,
        gaps: Sequence[tuple[int, int]],
        ask: Callable[[tuple[int, int]], Awaitable[FetchedPiece]],
        deadline: Deadline,
    ) -> FetchedPieces:
        """The gaps of a slow query in small pieces, one after another, until one fails or their deadline is over."""
        pieces: list[FetchedPiece] = []
        left = list(gaps)
        while left:
            # What is begun too late is work for nothing; it is asked for with the next refresh.
            if pieces and deadline.remaining < self._target:
                return FetchedPieces(pieces, deadline.exceeded())
            gap, left = _cut_newest(left, self.points_at_once(key))
            try:
                pieces.append(await ask(gap))
            except TimedOut as exc:
                return FetchedPieces(pieces, deadline.exceeded(by_upstream=exc.by_upstream))
            except UpstreamError as exc:
                return FetchedPieces(pieces, exc)
            if not pieces[-1].raw.is_success:
                break
        return FetchedPieces(pieces)

    @contextmanager
    def watch(self, key: Hashable, points: int) -> Iterator[None]:
        """Note how long the upstream takes for so many points of a query."""
        begun = self._clock()
        try:
            yield
        except TimedOut:
            self._slowed(key, points / max(self._clock() - begun, self._target))
            raise
        except asyncio.CancelledError:
            if (seconds := self._clock() - begun) >= _ABANDONED_SECONDS:
                self._slowed(key, points / seconds)
            raise
        else:
            if (known := self._speeds.get(key)) is not None:
                speed = points / max(self._clock() - begun, 1e-3)
                # Few points say little: most of their time is not spent on points.
                if speed < known or points >= self.points_at_once(key):
                    self._remember(key, min(speed, known * _LARGEST_GROWTH))

    def timed_out(self, key: Hashable, points: int) -> None:
        """Note that the engine gave so many points of a query up."""
        self._slowed(key, points / self._deadline)

    def _slowed(self, key: Hashable, most: float) -> None:
        known = self._speeds.get(key, inf)
        # What is as fast as known, or shorter than any piece should be, is asked for in halves the next time.
        self._remember(key, min(most, known / 2))

    def _remember(self, key: Hashable, speed: float) -> None:
        self._speeds[key] = speed
        self._speeds.move_to_end(key)
        if len(self._speeds) > _MOST_QUERIES:
            self._speeds.popitem(last=False)


def plan_pieces(coverage: Coverage, first: int, last: int) -> FetchPlan:
    """What to ask for when a range of the grid of a slow query is wanted: nothing that is known, however scattered."""
    return FetchPlan(tuple(find_gaps(coverage, first, last)), clip(coverage, first, last), "slow")


def _cut_newest(gaps: Sequence[tuple[int, int]], points: float) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The newest so many points of what is missing, as one piece, and what is left to ask for after it.

    The newest first: people look there, and they stay in the window for longest.
    """
    *others, (begin, end) = gaps
    if end - begin + 1 <= points:
        return (begin, end), others
    start = end + 1 - int(points)
    return (start, end), [*others, (begin, start - 1)]
