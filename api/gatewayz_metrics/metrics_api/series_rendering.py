"""Series as JSON objects, as flat rows in the order of time, or as CSV."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from functools import lru_cache

import orjson

from gatewayz_metrics.cooperative import yield_periodically
from gatewayz_metrics.errors import LimitExceeded
from gatewayz_metrics.metrics_api.formats import DataFormat, escape_formula, render_csv_line
from gatewayz_metrics.metrics_api.series import NamedSeries, SeriesTable
from gatewayz_metrics.promql.times import format_rfc3339, format_seconds

_COLUMNS = ("time", "name", "value")
# Writes one row of a series from its time and its digits.
RowRenderer = Callable[[str, str | None], str]


async def render_series_table(table: SeriesTable, form: DataFormat, max_bytes: int) -> bytes:
    """The table in one of the forms. Raises LimitExceeded when it takes more than `max_bytes`."""
    if form is DataFormat.JSON:
        pieces = [piece async for piece in _within(_render_series(table), max_bytes)]
        return _render_document(table, pieces)
    columns = name_columns(table.labels)
    if form is DataFormat.CSV:
        head = render_csv_line(["time", "name", *map(escape_formula, columns.values()), "value"])
        lines = await _render_rows(table, lambda series: _csv_row(series, columns), max_bytes)
        return (head + "".join(lines)).encode("utf-8", "replace")
    rows = await _render_rows(table, lambda series: _json_row(series, columns), max_bytes)
    return f"[{','.join(rows)}]\n".encode("utf-8", "replace")


def name_columns(labels: Iterable[str]) -> dict[str, str]:
    """The column of each label: its name, after `label_` where that is one of our own columns."""
    columns: dict[str, str] = {}
    for label in labels:
        column = label
        while column in _COLUMNS or column in columns.values():
            column = f"label_{column}"
        columns[label] = column
    return columns


async def _render_rows(
    table: SeriesTable, renderer_of: Callable[[NamedSeries], RowRenderer], max_bytes: int
) -> list[str]:
    """A row per point, ascending by time: Grafana makes a time series of rows in no other order."""
    by_time: dict[int, list[str]] = defaultdict(list)

    async def render_all() -> AsyncIterator[str]:
        for series in table.series:
            render = renderer_of(series)
            rows = [render(_format_time(time), value) for time, value in zip(series.times, series.values, strict=True)]
            for time, row in zip(series.times, rows, strict=True):
                by_time[time].append(row)
            yield "".join(rows)

    async for _ in _within(render_all(), max_bytes):
        pass
    return [row for time in sorted(by_time) for row in by_time[time]]


async def _within(pieces: AsyncIterator[str], max_bytes: int) -> AsyncIterator[str]:
    """The pieces, with other requests running in between, as long as all of them are small enough together."""
    pause = yield_periodically()
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise LimitExceeded(f"The answer has more than {max_bytes:,} bytes", "MAX_RESPONSE_BYTES", f"{max_bytes:,}")
        yield piece
        await pause()


@lru_cache(2**14)
def _format_time(time_ms: int) -> str:
    # Fractions only where there are any: some clients recognize no time with them.
    return format_rfc3339(time_ms, "milliseconds" if time_ms % 1000 else "seconds")


def _json_row(series: NamedSeries, columns: dict[str, str]) -> RowRenderer:
    labels = {column: series.labels.get(label, "") for label, column in columns.items()}
    middle = _dump({"name": series.name} | labels)[1:-1]
    return lambda time, value: f'{{"time":"{time}",{middle},"value":{value or "null"}}}'


def _csv_row(series: NamedSeries, columns: dict[str, str]) -> RowRenderer:
    cells = [series.name, *(escape_formula(series.labels.get(label, "")) for label in columns)]
    middle = render_csv_line(cells).removesuffix("\r\n")
    return lambda time, value: f"{time},{middle},{value or ''}\r\n"


async def _render_series(table: SeriesTable) -> AsyncIterator[str]:
    for series in table.series:
        points = (
            f'["{_format_time(time)}",{value or "null"}]'
            for time, value in zip(series.times, series.values, strict=True)
        )
        head = _dump({"name": series.name, "unit": series.unit, "labels": series.labels})[:-1]
        yield f'{head},"values":[{",".join(points)}]}}'


def _render_document(table: SeriesTable, series: list[str]) -> bytes:
    span = table.range
    document: dict[str, object] = {
        "start": _format_time(span.start_ms),
        "end": _format_time(span.end_ms),
        "step": orjson.Fragment(format_seconds(span.step_ms)),
        "series": orjson.Fragment(f"[{','.join(series)}]"),
    }
    # In an outage every entry has the same error: it is given once.
    if table.is_outage:
        document["error"] = next(iter(table.errors.values())).sentence
    elif table.errors:
        document["errors"] = {name: error.sentence for name, error in table.errors.items()}
    if table.warnings:
        document["warnings"] = table.warnings
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _dump(document: object) -> str:
    return orjson.dumps(document).decode()
