"""Which parts of a grid are known, which queries go past the cache, and what the others have to ask for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from gatewayz_metrics.promql.cacheability import CacheTraits
from gatewayz_metrics.range_cache.annotations import are_alike, merge_notes
from gatewayz_metrics.range_cache.range_query import RangeQuery
from gatewayz_metrics.upstream.response import NO_NOTES, AnswerNotes

# Many small questions cost more than one large.
_MOST_GAPS = 4
_LARGEST_MISSING_SHARE = 0.6
_SMALLEST_PIECE = 20

# The parts of the grid that are known, apart from what was found there: nothing found is known as well.


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of the grid, both ends included; times are those of the monotonic clock."""

    first: int
    last: int
    read_at: float
    # What the engine remarked on it; repeated whenever it is used.
    notes: AnswerNotes = NO_NOTES
    # Until when it is believed.
    expires_at: float = math.inf

    @property
    def steps(self) -> int:
        """How many points of the grid it has."""
        return self.last - self.first + 1


Coverage = tuple[Extent, ...]


def unexpired(coverage: Coverage, now: float) -> Coverage:
    """What is still believed at a moment of the monotonic clock."""
    return tuple(extent for extent in coverage if now <= extent.expires_at)


def clip(coverage: Coverage, first: int, last: int) -> Coverage:
    """The parts in a range, cut to it."""
    return tuple(
        extent
        if first <= extent.first and extent.last <= last
        else replace(extent, first=max(extent.first, first), last=min(extent.last, last))
        for extent in coverage
        if extent.first <= last and extent.last >= first
    )


def find_runs(coverage: Coverage) -> list[tuple[int, int]]:
    """The stretches that are covered, neighbours as one."""
    found: list[tuple[int, int]] = []
    for extent in coverage:
        if found and found[-1][1] + 1 == extent.first:
            found[-1] = found[-1][0], extent.last
        else:
            found.append((extent.first, extent.last))
    return found


def find_gaps(coverage: Coverage, first: int, last: int) -> list[tuple[int, int]]:
    """The stretches of a range that are not covered."""
    found: list[tuple[int, int]] = []
    at = first
    for extent in clip(coverage, first, last):
        if extent.first > at:
            found.append((at, extent.first - 1))
        at = extent.last + 1
    if at <= last:
        found.append((at, last))
    return found


def add_extent(coverage: Coverage, new: Extent, slack: float) -> Coverage:
    """The coverage with one more extent, which wins where it overlaps others.

    Neighbours that expire within `slack` seconds of one another become one that is as old as the
    older: a panel that refreshes would otherwise leave an extent behind every time.
    """
    parts = [*_around(coverage, new), new]
    parts.sort(key=lambda extent: extent.first)
    joined: list[Extent] = []
    for extent in parts:
        if joined and _are_alike(joined[-1], extent, slack):
            joined[-1] = _join(joined[-1], extent)
        else:
            joined.append(extent)
    return tuple(joined)


def _around(coverage: Coverage, new: Extent) -> Iterator[Extent]:
    """What remains of a coverage outside an extent."""
    for extent in coverage:
        if extent.first < new.first:
            yield replace(extent, last=min(extent.last, new.first - 1))
        if extent.last > new.last:
            yield replace(extent, first=max(extent.first, new.last + 1))


def _are_alike(left: Extent, right: Extent, slack: float) -> bool:
    return (
        left.last + 1 == right.first
        and are_alike(left.notes, right.notes)
        and (left.expires_at == right.expires_at or abs(left.expires_at - right.expires_at) <= slack)
    )


def _join(left: Extent, right: Extent) -> Extent:
    return Extent(
        left.first,
        right.last,
        min(left.read_at, right.read_at),
        merge_notes([left.notes, right.notes]),
        min(left.expires_at, right.expires_at),
    )


# A large piece is believed in so many parts, the first of which expires after half of the lifetime: a dashboard whose
# panels were all read in one moment would otherwise be read anew in one moment.
_SLICES = 8
_SPREAD = 0.5
# Extents that expire within this share of the lifetime count as one; parts of one piece are twice as far apart.
_SLACK = 1 / 32


@dataclass(frozen=True, slots=True)
class Lifetime:
    """For how long points are believed: `seconds` at most; `shift`, from 0 to 1, says which part expires first."""

    seconds: float
    shift: float = 0.0

    @property
    def slack(self) -> float:
        """Seconds by which neighbours may expire apart and still be one extent."""
        return _SLACK * self.seconds

    def divide(self, whole: Extent, *, is_large: bool) -> list[Extent]:
        """An extent in parts that expire one after the other, or as it is where it is small beside others."""
        number = max(1, min(_SLICES, whole.steps // _SMALLEST_PIECE)) if is_large else 1
        bounds = [whole.first + part * whole.steps // number for part in range(number + 1)]
        return [
            replace(whole, first=begin, last=after - 1, expires_at=whole.read_at + self._of_part(part / number))
            for part, (begin, after) in enumerate(pairwise(bounds))
        ]

    def _of_part(self, place: float) -> float:
        return self.seconds * (1 - _SPREAD * ((place + self.shift) % 1))


def bypass_reason(query: RangeQuery, horizon_ms: int, known: CacheTraits | None = None) -> str:
    """Why a query must go past the cache, or nothing. In doubt it must.

    With traits that are known already its text is not read.
    """
    if query.bypass:
        return query.bypass
    parameters = dict(query.extra)
    if parameters.get("limit", "0") not in ("", "0"):
        return "limit"
    if parameters.get("stats"):
        return "stats"
    traits = known or query.parsed.traits
    if traits.reason is not None:
        return traits.reason.value
    if not traits.is_settled(horizon_ms):
        return "fixed-time"
    # A negative offset reads what is newer than its own time.
    return "too-new" if query.range.start_ms > horizon_ms - traits.lookahead_ms else ""


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """The stretches to ask for and those to take from the entry, both ends included."""

    gaps: tuple[tuple[int, int], ...]
    kept: Coverage
    # Why everything is asked for although something is known.
    reason: str = ""


def plan_fetches(coverage: Coverage, first: int, last: int) -> FetchPlan:
    """What to ask for when a range of the grid is wanted."""
    known = clip(coverage, first, last)
    missing = find_gaps(known, first, last)
    if not missing:
        return FetchPlan((), known)
    if not known:
        return FetchPlan(((first, last),), (), "unknown")
    steps = last - first + 1
    if steps > _SMALLEST_PIECE:
        known = _without_scraps(known)
        missing = find_gaps(known, first, last)
    share = sum(end - begin + 1 for begin, end in missing) / steps
    if len(missing) > _MOST_GAPS or share > _LARGEST_MISSING_SHARE:
        return FetchPlan(((first, last),), (), "scattered" if len(missing) > _MOST_GAPS else "mostly-missing")
    return FetchPlan(tuple(missing), known)


def _without_scraps(known: Coverage) -> Coverage:
    """The coverage without stretches so short that asking around them costs more than asking for them."""
    runs = [(first, last) for first, last in find_runs(known) if last - first + 1 >= _SMALLEST_PIECE]
    return tuple(extent for run in runs for extent in clip(known, *run))
