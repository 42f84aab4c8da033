"""The query parameters of `series`: which entries of the catalogue, over which range, in which form."""

from dataclasses import dataclass
from math import ceil

from starlette.datastructures import QueryParams

from gatewayz_metrics.bounded_store import remember_short
from gatewayz_metrics.errors import InvalidParameter
from gatewayz_metrics.metrics_api.formats import DataFormat, parse_data_format
from gatewayz_metrics.metrics_api.parameters import read_time
from gatewayz_metrics.promql.times import CALENDAR_BEGIN_MS, TimeRange, parse_duration

_HOUR_MS = 3_600_000
# Points of a series where no step is given: enough for a panel, few enough for a spreadsheet.
_DEFAULT_POINTS = 240

NAME = {
    "name": "name",
    "in": "query",
    "required": True,
    "description": "A statistic such as `http.error_rate`, or a family; may be repeated.",
    "schema": {"type": "array", "items": {"type": "string"}},
}
START = {
    "name": "start",
    "in": "query",
    "description": "The first moment: Unix seconds, or RFC 3339 with an offset. An hour before `end` when absent.",
    "schema": {"type": "string"},
}
END = {
    "name": "end",
    "in": "query",
    "description": "The last moment, in the same forms. Now when absent.",
    "schema": {"type": "string"},
}
STEP = {
    "name": "step",
    "in": "query",
    "description": "From one point to the next: seconds or a duration such as `5m`. A 240th of the range when absent, "
    "but no less than the time between two scrapes.",
    "schema": {"type": "string"},
}


@dataclass(frozen=True, slots=True)
class SeriesParams:
    """What a request for series asks for, times in Unix milliseconds; unknown parameters are ignored."""

    names: tuple[str, ...]
    start_ms: int | None
    end_ms: int | None
    step_ms: int | None
    form: DataFormat

    def resolve_range(self, now_ms: int, scrape_ms: int) -> TimeRange:
        """The range with what was left out. Raises InvalidParameter with a sentence.

        Without start and end the points stand at multiples of the step, so that the next request meets them again.
        """
        end_ms = now_ms if self.end_ms is None else self.end_ms
        start_ms = max(CALENDAR_BEGIN_MS, end_ms - _HOUR_MS) if self.start_ms is None else self.start_ms
        if end_ms < start_ms:
            raise InvalidParameter("The range ends before it begins; exchange start and end.")
        step_ms = self.step_ms or max(scrape_ms, ceil((end_ms - start_ms) / _DEFAULT_POINTS / 1000) * 1000)
        if self.start_ms is None and self.end_ms is None:
            start_ms, end_ms = (time_ms // step_ms * step_ms for time_ms in (start_ms, end_ms))
        return TimeRange(start_ms, end_ms, step_ms)


@remember_short(512)
def parse_series_params(query_string: bytes) -> SeriesParams:
    """The parameters in a query string. Raises InvalidParameter with a sentence."""
    query, form = QueryParams(query_string), parse_data_format(query_string)
    names = tuple(dict.fromkeys(name for name in query.getlist("name") if name))
    if not names:
        raise InvalidParameter(
            "The parameter name is missing: it takes a statistic such as http.error_rate, or a family; "
            "it may be repeated."
        )
    return SeriesParams(names, _moment(query, "start"), _moment(query, "end"), _step(query), form)


def _moment(query: QueryParams, name: str) -> int | None:
    text = query.get(name)
    return read_time(name, text) if text else None


def _step(query: QueryParams) -> int | None:
    text = query.get("step")
    if not text:
        return None
    step_ms = parse_duration(text)
    if not step_ms:
        raise InvalidParameter(
            f"The parameter step cannot be {text!r:.100}: it takes seconds such as 60, or a duration such as 5m."
        )
    return step_ms
