"""Curves as tables: a row per series and moment, labels as columns of text, several targets joined on request."""

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

Labels = tuple[tuple[str, str], ...]

# A browser draws more with difficulty, and nobody reads them.
_MOST = 10_000


def render_table(answers: Sequence[TargetResult]) -> Element:
    """One table of the answers: a row per labels and time, a value column per answer and metric."""
    label_names = sorted({name for answer in answers for curve in answer.curves for name in curve.labels})
    rows = _Rows()
    columns = [column for answer in answers for column in _columns(answer, rows, is_alone=len(answers) == 1)]
    fields = [
        {"name": "Time", "type": "time"},
        *({"name": name, "type": "string"} for name in label_names),
        *columns,
    ]
    body = rows.written(label_names)
    notices = [text for answer in answers[1:] for text in answer.notices]
    if rows.left_out:
        notices.append(f"{_MOST:,} rows are shown, others left out; ask for one moment (instant), or filter by labels.")
    about = build_meta(answers[0], notices, preferredVisualisationType="table")
    about["executedQueryString"] = "\n".join(answer.plan.executed for answer in answers)
    return _element(answers[0].plan.ref_id, fields, body, about)


class _Rows:
    """Values by labels and time, as many as a table can show."""

    def __init__(self) -> None:
        self.left_out = False
        self._found: dict[Labels, dict[int, dict[int, float]]] = defaultdict(dict)
        self._count = 0
        self._columns = 0

    def next_column(self) -> int:
        """The number of a new column."""
        self._columns += 1
        return self._columns - 1

    def add(self, column: int, curve: ResultSeries) -> None:
        """Puts a curve's points into a column."""
        rows = self._found[tuple(sorted(curve.labels.items()))]
        for time, value in zip(curve.series.times, curve.series.values, strict=True):
            if time not in rows:
                if self._count >= _MOST:
                    self.left_out = True
                    return
                self._count += 1
                rows[time] = {}
            rows[time][column] = value

    def written(self, label_names: Sequence[str]) -> list[list[object]]:
        """The rows in the order of their labels, then of time."""
        body: list[list[object]] = []
        for labels, rows in sorted(self._found.items()):
            texts = dict(labels)
            head = [texts.get(name) for name in label_names]
            for time, values in sorted(rows.items()):
                body.append([time, *head, *(values.get(at) for at in range(self._columns))])
        return body


def _element(ref_id: str, fields: list[Element], rows: list[list[object]], about: Element) -> Element:
    """A table; as a frame when it holds a value that only frames can carry."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in fields]
    if any(find_special_values(column) for column in columns):
        spread = [{"config": _config(field), **_named(field)} for field in fields]
        return build_frame(ref_id, ref_id, spread, columns, about)
    heads = [{"text": field["name"], "type": field["type"], **_config(field)} for field in fields]
    return {"type": "table", "refId": ref_id, "name": ref_id, "columns": heads, "rows": rows, "meta": about}


def _config(field: Element) -> Element:
    return {key: value for key, value in field.items() if key not in ("name", "type")}


def _named(field: Element) -> Element:
    return {"name": field["name"], "type": field["type"]}


def _columns(answer: TargetResult, rows: _Rows, *, is_alone: bool) -> Iterator[Element]:
    by_metric: dict[str, list[ResultSeries]] = {ask.name: [] for ask in answer.plan.asks}
    for curve in answer.curves:
        by_metric[curve.ask.name].append(curve)
    for metric, curves in by_metric.items():
        column = rows.next_column()
        for curve in curves:
            rows.add(column, curve)
        yield _column(answer, metric, curves, alone=is_alone and len(by_metric) == 1)


def _column(answer: TargetResult, metric: str, curves: Sequence[ResultSeries], *, alone: bool) -> Element:
    """The head of a value column: what the user calls it, else `Value`, told apart as Grafana does."""
    plain = answer.plan.legend and "{{" not in answer.plan.legend
    name = fill_legend(answer.plan.legend, {}) if plain else metric if not alone and metric else ""
    head: Element = {"name": name or ("Value" if alone else f"Value #{answer.plan.ref_id}"), "type": "number"}
    if curves and (unit := choose_unit(answer, curves[0])):
        head["unit"] = unit
    return head
