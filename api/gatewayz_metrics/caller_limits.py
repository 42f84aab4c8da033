"""Limits on what callers write, alike on every surface: the length of a query and how much time it reads.

Each check raises LimitExceeded, which names the setting.
"""

from gatewayz_metrics.errors import LimitExceeded, TooManyPoints
from gatewayz_metrics.promql.clauses import Feature
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.times import TimeRange

_MINUTE_MS = 60_000


def check_length(length: int, longest: int, what: str = "The query") -> None:
    """MAX_QUERY_LENGTH, in characters."""
    if length > longest:
        raise LimitExceeded(f"{what} has {length:,} characters", "MAX_QUERY_LENGTH", f"{longest:,}")


def check_range(length_ms: int | None, longest_s: float) -> None:
    """MAX_RANGE, for the time between start and end; None is a range that cannot be told, 0 sets no limit."""
    if not longest_s:
        return
    if length_ms is None:
        raise LimitExceeded("The range cannot be told", "MAX_RANGE", f"{longest_s:g} seconds")
    if length_ms > longest_s * 1000:
        raise LimitExceeded(f"The range has {length_ms / 1000:,g} seconds", "MAX_RANGE", f"{longest_s:,g}")


def check_points(span: TimeRange, most: int) -> None:
    """MAX_POINTS, for the points that each series of a range query has."""
    if span.steps > most:
        raise TooManyPoints(most)


def check_lookback(query: QueryText, longest_s: float) -> None:
    """MAX_RANGE, for the time before its own that a query reads: ranges, subqueries and offsets in one another."""
    if not longest_s:
        return
    parsed = query.parsed
    if parsed.fault or not parsed.features.isdisjoint((Feature.EXPRESSION, Feature.MACRO)):
        raise LimitExceeded("How far back the query reads cannot be told", "MAX_RANGE", f"{longest_s:g} seconds")
    if parsed.lookback_ms > longest_s * 1000:
        raise LimitExceeded(
            f"The query reads {parsed.lookback_ms / 1000:,g} seconds back", "MAX_RANGE", f"{longest_s:,g}"
        )


def earliest_start(end_ms: int, longest_s: float) -> int:
    """Where a list begins when nobody says so: MAX_RANGE before the end, on a whole minute, as caches go by it."""
    return -((round(longest_s * 1000) - end_ms) // _MINUTE_MS * _MINUTE_MS)
