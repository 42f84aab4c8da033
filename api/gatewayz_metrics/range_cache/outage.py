"""What a range query is answered with while the upstream cannot be asked: the settled points that are kept."""

from collections.abc import Generator, Sequence

from gatewayz_metrics.errors import CircuitOpen, QueryTimedOut, TimedOut, UpstreamError
from gatewayz_metrics.promql.times import CALENDAR_BEGIN_MS, CALENDAR_END_MS, format_rfc3339, format_seconds
from gatewayz_metrics.range_cache.annotations import merge_notes
from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.matrix import RenderedMatrix, render_matrix
from gatewayz_metrics.range_cache.plan import clip, find_gaps
from gatewayz_metrics.upstream.breaker import may_be_outage
from gatewayz_metrics.upstream.request import ApiResponse
from gatewayz_metrics.upstream.response import parse_refusal

# Stretches that a warning names.
_MOST_STRETCHES = 3


def is_outage(error: UpstreamError) -> bool:
    """Whether kept points may stand in for an answer that failed with this: the upstream is down, or too slow.

    Not when it answers and refuses: our rights or our rate, a wrong address, an answer that is too large.
    """
    if isinstance(error, CircuitOpen):
        return may_be_outage(error.cause)
    return isinstance(error, TimedOut | QueryTimedOut) or may_be_outage(error)


def find_timeout(answer: ApiResponse) -> QueryTimedOut | None:
    """The error of an answer in which the engine says that its own time for the query was over."""
    refusal = parse_refusal(answer.body) if answer.status == 503 else None
    return QueryTimedOut(refusal.message) if refusal and refusal.error_type == "timeout" else None


def render_kept(
    entry: CacheEntry, grid: StepGrid, window: tuple[int, int], error: UpstreamError
) -> Generator[None, None, RenderedMatrix | None]:
    """The kept points of a window of the grid as an envelope whose warning names the outage and what is missing.

    None when nothing in it is kept. Yields after some series.
    """
    kept = clip(entry.coverage, *window)
    if not kept:
        return None
    notes = merge_notes([extent.notes for extent in kept])
    warnings = [_explain(grid, find_gaps(kept, *window), error), *notes.warnings]
    rendered = yield from render_matrix(entry.points.within(*window), grid, warnings, notes.infos)
    return rendered if rendered.series else None


def _explain(grid: StepGrid, gaps: Sequence[tuple[int, int]], error: UpstreamError) -> str:
    stretches = [f"{_format_time(grid.time_ms(begin))} to {_format_time(grid.time_ms(end))}" for begin, end in gaps]
    if len(stretches) > _MOST_STRETCHES:
        stretches[_MOST_STRETCHES:] = [f"{len(stretches) - _MOST_STRETCHES} more stretches"]
    missing = f"missing: {', '.join(stretches)}" if stretches else "nothing of it is missing"
    return f"Only points that were read before are shown ({missing}). {error.sentence}"


def _format_time(ms: int) -> str:
    """A time for people; seconds where the calendar has no date for it."""
    return format_rfc3339(ms) if CALENDAR_BEGIN_MS <= ms <= CALENDAR_END_MS else format_seconds(ms)
