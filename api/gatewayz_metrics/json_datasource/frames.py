"""Curves as data frames: labels, units, and the values that JSON has no literal for.

The format: https://grafana.com/developers/dataplane/ and `DataFrameJSON` in
https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/dataframe/DataFrameJSON.ts.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf, isfinite, isnan
from typing import Any

from gatewayz_metrics.catalogue import grafana_unit
from gatewayz_metrics.json_datasource.results import ResultSeries, Series, TargetFailure, TargetResult
from gatewayz_metrics.promql.matchers import format_series

# DOC What goes with every element of a `/query` answer: query, notices, names.
#
# The shapes are those that Grafana's `toDataFrame` takes,
# https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/dataframe/processDataFrame.ts.
#


Element = dict[str, Any]

_LONGEST_NAME = 200


def build_meta(answer: TargetResult, more: Iterable[str] = (), **others: object) -> Element:
    """What the query inspector and the panel's header show."""
    found: Element = {"executedQueryString": answer.plan.executed, **others}
    if notices := [build_notice("warning", text) for text in (*answer.notices, *more)]:
        found["notices"] = notices
    return found


def build_notice(severity: str, text: str) -> Element:
    """A sign in the panel's header."""
    return {"severity": severity, "text": text}


def render_failure(failure: TargetFailure) -> Element:
    """A target that failed beside others that did not."""
    sentence = f"target {failure.ref_id}: {failure.error.sentence}"
    about: Element = {"notices": [build_notice("error", sentence)]}
    if failure.executed:
        about["executedQueryString"] = failure.executed
    return {"refId": failure.ref_id, "fields": [], "meta": about}


def render_empty(answer: TargetResult, *notices: str) -> Element:
    """A target without data: nothing to draw, but the query can be looked at."""
    return {"refId": answer.plan.ref_id, "fields": [], "meta": build_meta(answer, notices)}


def choose_unit(answer: TargetResult, curve: ResultSeries) -> str:
    """The Grafana unit id of a curve; empty when nobody said."""
    ask = curve.ask
    return grafana_unit(ask.unit, ask.function, ask.type) if answer.plan.is_catalogue else ask.unit


def name_all_series(answer: TargetResult) -> list[str]:
    """What each curve is called in a legend."""
    curves, template = answer.curves, answer.plan.legend
    if not answer.plan.is_catalogue or template:
        return [name_series(template, curve.templated, _fallback(curve)) for curve in curves]
    if len(answer.plan.asks) == 1:
        return name_shortly([curve.labels for curve in curves], answer.plan.asks[0].name)
    return [f"{curve.metric}{format_series(curve.labels)}" for curve in curves]


def _fallback(curve: ResultSeries) -> str:
    return curve.ask.name or curve.ask.promql[:_LONGEST_NAME]


# DOC What a series is called: the user's template, or the shortest name that tells series apart.


# As in Grafana's own Prometheus datasource: `{{label}}`, blanks allowed.
_SLOT = re.compile(r"\{\{\s*([^{}\s]{1,100})\s*\}\}")


def fill_legend(template: str, labels: Mapping[str, str]) -> str:
    """The template with every `{{label}}` replaced; a label that is absent leaves nothing."""
    return _SLOT.sub(lambda slot: labels.get(slot[1], ""), template)


def name_series(template: str, labels: Mapping[str, str], fallback: str) -> str:
    """The name of a series in a legend."""
    if template:
        return fill_legend(template, labels) or fallback
    return format_series(labels) or fallback


def name_shortly(all_labels: Sequence[Mapping[str, str]], fallback: str) -> list[str]:
    """Names for the series of one catalogue entry, whose own name goes without saying."""
    names = {name for labels in all_labels for name in labels}
    if len(names) == 1:
        only = names.pop()
        return [labels.get(only) or fallback for labels in all_labels]
    return [format_series(labels) or fallback for labels in all_labels]


def render_frames(answer: TargetResult) -> Iterator[Element]:
    """A frame per curve."""
    shared = build_meta(answer, type="timeseries-multi", typeVersion=[0, 1], preferredVisualisationType="graph")
    silent = {key: value for key, value in shared.items() if key != "notices"}
    for number, (curve, name) in enumerate(zip(answer.curves, name_all_series(answer), strict=True)):
        config = {"displayNameFromDS": name, **({"unit": unit} if (unit := choose_unit(answer, curve)) else {})}
        fields: list[Element] = [
            {"name": "Time", "type": "time", "config": {"interval": answer.plan.grid.step_ms}},
            {"name": "Value", "type": "number", "labels": curve.labels, "config": config},
        ]
        series = curve.series
        yield build_frame(
            answer.plan.ref_id, name, fields, [series.times, series.values], shared if not number else silent
        )


def build_frame(
    ref_id: str, name: str, fields: Sequence[Element], values: Sequence[Sequence[object]], meta: Element
) -> Element:
    """One frame of any fields; NaN and infinities of number fields travel beside the values."""
    entities = [
        find_special_values(column) if field["type"] == "number" else None
        for field, column in zip(fields, values, strict=True)
    ]
    data: Element = {"values": values}
    if any(entities):
        data["entities"] = entities
    return {"schema": {"refId": ref_id, "name": name, "meta": meta, "fields": fields}, "data": data}


def find_special_values(values: Sequence[object]) -> Element | None:
    """Where a column holds what the encoder writes as null, though it is something."""
    found: dict[str, list[int]] = {}
    for at, value in enumerate(values):
        if isinstance(value, float) and not isfinite(value):
            found.setdefault("NaN" if isnan(value) else "Inf" if value > 0 else "NegInf", []).append(at)
    return found or None


# DOC Curves as series of datapoints, which both generations of plugins read.


def is_plain(series: Series) -> bool:
    """Whether every value is a number that JSON has; a sum is finite only when all of it is."""
    return isfinite(sum(series.values)) or all(map(isfinite, series.values))


def render_series(answer: TargetResult) -> Iterator[Element]:
    """A series per curve."""
    shared = build_meta(answer, preferredVisualisationType="graph")
    silent = {key: value for key, value in shared.items() if key != "notices"}
    for number, (curve, name) in enumerate(zip(answer.curves, name_all_series(answer), strict=True)):
        element: Element = {
            "refId": answer.plan.ref_id,
            "target": name,
            "title": name,
            "tags": curve.labels,
            "datapoints": build_datapoints(curve.series, answer.plan.grid.step_ms),
            "meta": shared if number == 0 else silent,
        }
        if unit := choose_unit(answer, curve):
            element["unit"] = unit
        yield element


def build_datapoints(found: Series, step: int) -> list[tuple[float | None, int]]:
    """Values with their times; a null wherever a sample is missing, or a line would cross the gap."""
    times, values = found.times, found.values
    if not times or (times[-1] - times[0]) // step + 1 == len(times):
        return list(zip(values, times, strict=True))
    present = dict(zip(times, values, strict=True))
    return [(present.get(time), time) for time in range(times[0], times[-1] + 1, step)]


# DOC Cumulative buckets as the rows of a heatmap: what fell between one bound and the next.


Labels = tuple[tuple[str, str], ...]


def render_heatmaps(answer: TargetResult) -> Iterator[Element]:
    """A frame per label set, a field per bucket, ascending."""
    about = build_meta(answer, type="heatmap-rows")
    if not any("le" in curve.labels for curve in answer.curves):
        yield render_empty(
            answer, "A heatmap needs buckets, and no series has a label le; group by it, or choose a family."
        )
    for labels, curves in _by_labels(answer.curves).items():
        times = sorted({time for curve in curves.values() for time in curve.series.times})
        fields: list[Element] = [{"name": "Time", "type": "time", "config": {"interval": answer.plan.grid.step_ms}}]
        columns: list[list[object]] = [list(times)]
        below: dict[int, float] = {}
        for bound in sorted(curves):
            here = dict(zip(curves[bound].series.times, curves[bound].series.values, strict=True))
            fields.append({"name": curves[bound].labels["le"], "type": "number", "labels": dict(labels)})
            columns.append([_between(here.get(time), below.get(time, 0.0)) for time in times])
            below |= here
        yield build_frame(answer.plan.ref_id, answer.plan.ref_id, fields, columns, about)


def _between(count: float | None, below: float) -> float | None:
    """How many observations a bucket has of its own; scrapes between two buckets may make it negative."""
    return None if count is None or isnan(count) else max(0.0, count - (0.0 if isnan(below) else below))


def _by_labels(curves: tuple[ResultSeries, ...]) -> dict[Labels, dict[float, ResultSeries]]:
    found: dict[Labels, dict[float, ResultSeries]] = defaultdict(dict)
    for curve in curves:
        bound = _bound(curve.labels.get("le"))
        if bound is not None:
            rest = tuple(sorted((name, value) for name, value in curve.labels.items() if name != "le"))
            found[rest][bound] = curve
    return found


def _bound(le: str | None) -> float | None:
    try:
        return inf if le == "+Inf" else None if le is None else float(le)
    except ValueError:
        return None
