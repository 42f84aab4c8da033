"""Results as tables: a row per label set and time, labels as text columns, and a value column per target and metric.

The format is the `table` that `toDataFrame` takes,
https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/dataframe/processDataFrame.ts.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from gatewayz_metrics.json_datasource.frames import (
    Element,
    build_frame,
    build_meta,
    choose_unit,
    fill_legend,
    find_special_values,
)
from gatewayz_metrics.json_datasource.results import ResultSeries, TargetResult
from gatewayz_metrics.memory import reserve_memory

Labels = tuple[tuple[str, str], ...]

# Rows of one table; browsers get slow with more.
_MOST_ROWS = 10_000
# Bytes of a cell, measured: in its row, and in its column where that is looked through.
_CELL = 16


def render_table(results: Sequence[TargetResult]) -> Iterator[Element | None]:
    """One table of one or more results, joined on labels and time, after None for each piece of the work."""
    names: set[str] = set()
    rows = _Rows()
    columns: list[Element] = []
    for result in results:
        for series in result.series:
            names.update(series.labels)
            yield None
        for column in _add_columns(result, rows, is_alone=len(results) == 1):
            if column is not None:
                columns.append(column)
            yield None
    label_names = sorted(names)
    reserve_memory(_CELL * rows.count * (1 + len(label_names) + len(columns)))
    fields = [
        {"name": "Time", "type": "time"},
        *({"name": name, "type": "string"} for name in label_names),
        *columns,
    ]
    body: list[list[object]] = []
    for row in rows.build(label_names):
        body.append(row)
        yield None
    notices = [text for result in results[1:] for text in result.notices]
    if rows.left_out:
        notices.append(
            f"{_MOST_ROWS:,} rows are shown, others left out; ask for one moment (instant), or filter by labels."
        )
    meta = build_meta(results[0], notices, preferredVisualisationType="table")
    # The inspector shows one query per element, so the table carries those of all its targets.
    meta["executedQueryString"] = "\n".join(result.plan.executed for result in results)
    yield _render_element(results[0].plan.ref_id, fields, body, meta)


class _Rows:
    """Values by labels, time and column, up to _MOST_ROWS rows."""

    def __init__(self) -> None:
        self.left_out = False
        self._values: dict[Labels, dict[int, dict[int, float]]] = defaultdict(dict)
        self.count = 0
        self._columns = 0

    def add_column(self) -> int:
        """The number of a new column."""
        self._columns += 1
        return self._columns - 1

    def add(self, column: int, series: ResultSeries) -> None:
        """Put the points of a series into a column; sets `left_out` when the rows do not suffice."""
        key = tuple(sorted(series.labels.items()))
        if self.count >= _MOST_ROWS and key not in self._values:
            self.left_out |= bool(series.series.times)
            return
        rows = self._values[key]
        for time, value in zip(series.times, series.values, strict=True):
            if time not in rows:
                if self.count >= _MOST_ROWS:
                    self.left_out = True
                    return
                self.count += 1
                rows[time] = {}
            rows[time][column] = value

    def build(self, label_names: Sequence[str]) -> Iterator[list[object]]:
        """The rows (time, labels, values), ordered by labels and then by time; what is absent is None."""
        for labels, rows in sorted(self._values.items()):
            by_name = dict(labels)
            label_values = [by_name.get(name) for name in label_names]
            for time, values in sorted(rows.items()):
                yield [time, *label_values, *(values.get(column) for column in range(self._columns))]


def _add_columns(result: TargetResult, rows: _Rows, *, is_alone: bool) -> Iterator[Element | None]:
    """Add a column per metric of a result to the rows; yields the fields of the columns, and None in between."""
    columns = {metric: rows.add_column() for metric in dict.fromkeys(query.name for query in result.plan.asks)}
    first: dict[str, ResultSeries] = {}
    for series in result.series:
        rows.add(columns[series.ask.name], series)
        first.setdefault(series.ask.name, series)
        yield None
    for metric in columns:
        yield _build_field(result, metric, first.get(metric), is_only=is_alone and len(columns) == 1)


def _build_field(result: TargetResult, metric: str, first: ResultSeries | None, *, is_only: bool) -> Element:
    """The field of a value column, named by the legend, by the metric, or as Grafana does: `Value`, `Value #A`."""
    plain_legend = result.plan.legend and "{{" not in result.plan.legend
    name = fill_legend(result.plan.legend, {}) if plain_legend else metric if not is_only and metric else ""
    field: Element = {"name": name or ("Value" if is_only else f"Value #{result.plan.ref_id}"), "type": "number"}
    if first is not None and (unit := choose_unit(result, first)):
        field["unit"] = unit
    return field


def _render_element(ref_id: str, fields: list[Element], rows: list[list[object]], meta: Element) -> Element:
    """A table, or a data frame when there is a NaN or an infinity, which a table cannot hold."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in fields]
    if any(find_special_values(column) for column in columns):
        frame_fields = [{"config": _config(field), "name": field["name"], "type": field["type"]} for field in fields]
        return build_frame(ref_id, ref_id, frame_fields, columns, meta)
    heads = [{"text": field["name"], "type": field["type"], **_config(field)} for field in fields]
    return {"type": "table", "refId": ref_id, "name": ref_id, "columns": heads, "rows": rows, "meta": meta}


def _config(field: Element) -> Element:
    return {key: value for key, value in field.items() if key not in ("name", "type")}
