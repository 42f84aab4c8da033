"""Which questions go past the cache, and what the others have to ask for."""

from dataclasses import dataclass
from functools import lru_cache

from gatewayz_metrics.promql.traits import Traits, traits
from gatewayz_metrics.ranges.extents import Coverage, Extent, gaps, within
from gatewayz_metrics.ranges.question import RangeQuestion

# Many small questions cost more than one large.
_MOST_GAPS = 4
_LARGEST_MISSING_SHARE = 0.6
_SMALLEST_PIECE = 20


@lru_cache(256)
def facts(query: str) -> Traits:
    """The traits of a query; a dashboard asks the same few over and over."""
    return traits(query)


def obstacle(question: RangeQuestion, horizon_ms: int) -> str:
    """Why a question must go past the cache, or nothing. In doubt it must."""
    if question.bypass:
        return question.bypass
    parameters = dict(question.extra)
    if parameters.get("limit", "0") not in ("", "0"):
        return "limit"
    if parameters.get("stats"):
        return "stats"
    found = facts(question.query)
    if found.reason is not None:
        return found.reason.value
    if not found.is_settled(horizon_ms):
        return "fixed-time"
    # A negative offset reads what is newer than its own time.
    return "too-new" if question.start_ms > horizon_ms - found.lookahead_ms else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The stretches to ask for and those to take from the entry, both ends included."""

    gaps: tuple[tuple[int, int], ...]
    kept: Coverage
    # Why everything is asked for although something is known.
    reason: str = ""


def plan(coverage: Coverage, first: int, last: int) -> Plan:
    """What to ask for when a range of the grid is wanted."""
    known = within(coverage, first, last)
    missing = gaps(known, first, last)
    if not missing:
        return Plan((), known)
    if not known:
        return Plan(((first, last),), (), "unknown")
    steps = last - first + 1
    if steps > _SMALLEST_PIECE:
        known = _without_scraps(known)
        missing = gaps(known, first, last)
    share = sum(end - begin + 1 for begin, end in missing) / steps
    if len(missing) > _MOST_GAPS or share > _LARGEST_MISSING_SHARE:
        return Plan(((first, last),), (), "scattered" if len(missing) > _MOST_GAPS else "mostly-missing")
    return Plan(tuple(missing), known)


def _without_scraps(known: Coverage) -> Coverage:
    """The coverage without stretches so short that asking around them costs more than asking for them."""
    runs: list[list[Extent]] = []
    for extent in known:
        if runs and runs[-1][-1].last + 1 == extent.first:
            runs[-1].append(extent)
        else:
            runs.append([extent])
    return tuple(extent for run in runs if run[-1].last - run[0].first + 1 >= _SMALLEST_PIECE for extent in run)
