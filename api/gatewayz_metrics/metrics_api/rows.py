"""The summary as flat rows, one per statistic, for clients that read tables: JSON or CSV."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from gatewayz_metrics.catalogue import Statistic, explain_absence
from gatewayz_metrics.metrics_api.formats import DataFormat, escape_formula, render_csv_line
from gatewayz_metrics.metrics_api.summary import format_decimal, require_one_sample
from gatewayz_metrics.query import Snapshot

_COLUMNS = ("section", "key", "value", "unit", "reason")


@dataclass(frozen=True, slots=True)
class StatisticRow:
    """One statistic: its value as a decimal, or None and the reason why there is none."""

    section: str
    key: str
    value: str | None
    unit: str
    reason: str | None


def render_summary_rows(statistics: Iterable[Statistic], snapshot: Snapshot, window: str, form: DataFormat) -> bytes:
    """The rows of a snapshot; `window` is the range of its rates, for the reasons."""
    rows = read_rows(statistics, snapshot, window)
    return _render_csv(rows) if form is DataFormat.CSV else _render_json(rows)


def read_rows(statistics: Iterable[Statistic], snapshot: Snapshot, window: str) -> Iterator[StatisticRow]:
    """The statistics of a snapshot as rows, with the digits that the summary gives."""
    for statistic in statistics:
        reading = require_one_sample(snapshot.readings[statistic.name])
        value = None if reading.value is None else format_decimal(reading.value, statistic.format)
        reason = None
        if reading.error is not None:
            reason = reading.error.sentence
        elif value is None:
            reason = explain_absence(statistic, window)
        elif value.endswith("Inf"):
            value, reason = None, f"The value is {value}, which is no number in JSON."
        yield StatisticRow(statistic.section, statistic.key, value, statistic.unit, reason)


def _render_json(rows: Iterable[StatisticRow]) -> bytes:
    document = [
        {
            "section": row.section,
            "key": row.key,
            # The digits are copied: a float would round a count above 2**53.
            "value": None if row.value is None else orjson.Fragment(row.value),
            "unit": row.unit,
            "reason": row.reason,
        }
        for row in rows
    ]
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _render_csv(rows: Iterable[StatisticRow]) -> bytes:
    lines = [_COLUMNS] + [
        (row.section, row.key, row.value or "", escape_formula(row.unit), escape_formula(row.reason or ""))
        for row in rows
    ]
    return "".join(map(render_csv_line, lines)).encode("utf-8", "replace")
