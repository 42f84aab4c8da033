"""Results as Grafana reads them: data frames, series of datapoints, and heatmaps, with names, units and notices.

The formats: https://grafana.com/developers/dataplane/, `DataFrameJSON` in
https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/dataframe/DataFrameJSON.ts, and the older shapes
that `toDataFrame` takes,
https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/dataframe/processDataFrame.ts.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf, isfinite, isnan
from typing import Any

from gatewayz_metrics.catalogue import grafana_unit
from gatewayz_metrics.json_datasource.results import ResultSeries, TargetFailure, TargetResult
from gatewayz_metrics.json_datasource.texts import join_short
from gatewayz_metrics.json_datasource.timing import ENGINE_POINTS
from gatewayz_metrics.memory import reserve_memory
from gatewayz_metrics.promql.matchers import format_series

Element = dict[str, Any]
Labels = tuple[tuple[str, str], ...]
# Series by the labels beside `le`, and by its bound.
BucketGroups = dict[Labels, dict[float, ResultSeries]]

# Bytes of a series in its group, measured: one of four labels.
_BUCKET = 1000
# Characters of a query that serves as a name; bounds the width of a legend.
_LONGEST_NAME = 200
# As in Grafana's own Prometheus datasource: `{{label}}`, with spaces allowed inside the braces.
_LEGEND_LABEL = re.compile(r"\{\{\s*([^{}\s]{1,100})\s*\}\}")


def render_frames(result: TargetResult) -> Iterator[Element]:
    """A data frame per series, with a time and a number field."""
    first = build_meta(result, type="timeseries-multi", typeVersion=[0, 1], preferredVisualisationType="graph")
    others = _without_query(first)
    for number, (series, name) in enumerate(name_all_series(result)):
        config = {"displayNameFromDS": name, **({"unit": unit} if (unit := choose_unit(result, series)) else {})}
        fields: list[Element] = [
            {"name": "Time", "type": "time", "config": {"interval": result.plan.grid.step_ms}},
            {"name": "Value", "type": "number", "labels": series.labels, "config": config},
        ]
        meta = others if number else first
        yield build_frame(result.plan.ref_id, name, fields, [series.times, series.values], meta)


def render_series(result: TargetResult) -> Iterator[Element]:
    """An element with `target` and `datapoints` per series, which both generations of plugins read."""
    first = build_meta(result, preferredVisualisationType="graph")
    others = _without_query(first)
    for number, (series, name) in enumerate(name_all_series(result)):
        element: Element = {
            "refId": result.plan.ref_id,
            "target": name,
            "title": name,
            "tags": series.labels,
            "datapoints": build_datapoints(series, result.plan.grid.step_ms),
            "meta": others if number else first,
        }
        if unit := choose_unit(result, series):
            element["unit"] = unit
        yield element


def render_heatmaps(result: TargetResult) -> Iterator[Element | None]:
    """A `heatmap-rows` frame per label set, with a field per bucket, ascending; None after work without a frame.

    Prometheus' buckets are cumulative, Grafana's rows are not: a row is the difference to the bucket below.
    """
    meta = build_meta(result, type="heatmap-rows")
    reserve_memory(_BUCKET * len(result.series))
    groups: BucketGroups = defaultdict(dict)
    has_buckets = False
    for series in result.series:
        has_buckets |= "le" in series.series.labels
        _add_bucket(groups, series)
        yield None
    if not has_buckets:
        yield render_empty(
            result, "A heatmap needs buckets, and no series has a label le; group by it, or choose a family."
        )
    for labels, by_bound in groups.items():
        times = sorted({time for series in by_bound.values() for time in series.times})
        fields: list[Element] = [{"name": "Time", "type": "time", "config": {"interval": result.plan.grid.step_ms}}]
        columns: list[list[object]] = [list(times)]
        below: dict[int, float] = {}
        for bound in sorted(by_bound):
            series = by_bound[bound]
            counts = dict(zip(series.times, series.values, strict=True))
            fields.append({"name": series.labels["le"], "type": "number", "labels": dict(labels)})
            columns.append([_subtract(counts.get(time), below.get(time, 0.0)) for time in times])
            below |= counts
        yield build_frame(result.plan.ref_id, result.plan.ref_id, fields, columns, meta)
        meta = _without_query(meta)


def render_empty(result: TargetResult, *notices: str) -> Element:
    """The element of a target without data; the query inspector still shows its query."""
    ask = result.plan.asks[0]
    return _build_empty(result.plan.ref_id, ask.name or ask.promql, build_meta(result, notices))


def render_failure(failure: TargetFailure) -> Element:
    """The element that shows why a target failed while others did not."""
    sentence = f"target {failure.ref_id}: {failure.error.sentence}"
    meta: Element = {"notices": [build_notice("error", sentence)]}
    if failure.executed:
        meta["executedQueryString"] = failure.executed
    return _build_empty(failure.ref_id, failure.target, meta)


def _build_empty(ref_id: str, target: str, meta: Element) -> Element:
    """A frame without fields, which is a series without points, too.

    Grafana tests for `fields` first. Clients of the first plugin's protocol read `datapoints` of every element.
    """
    return {"refId": ref_id, "target": target[:_LONGEST_NAME], "fields": [], "datapoints": [], "meta": meta}


def build_frame(
    ref_id: str, name: str, fields: Sequence[Element], values: Sequence[Sequence[object]], meta: Element
) -> Element:
    """A data frame with a column of values per field; NaN and infinities go into `entities`, as JSON lacks them."""
    entities = [
        find_special_values(column) if field["type"] == "number" else None
        for field, column in zip(fields, values, strict=True)
    ]
    data: Element = {"values": values}
    if any(entities):
        data["entities"] = entities
    return {"schema": {"refId": ref_id, "name": name, "meta": meta, "fields": fields}, "data": data}


def find_special_values(values: Sequence[object]) -> Element | None:
    """The positions of NaN and infinities in a column, which the JSON encoder writes as null; None without any."""
    found: dict[str, list[int]] = {}
    for position, value in enumerate(values):
        if isinstance(value, float) and not isfinite(value):
            found.setdefault("NaN" if isnan(value) else "Inf" if value > 0 else "NegInf", []).append(position)
    return found or None


def build_datapoints(series: ResultSeries, step_ms: int) -> list[tuple[float | None, int]]:
    """Pairs of value and time (milliseconds), with null for a missing step: the panel would connect its neighbours."""
    times, values = series.times, series.values
    steps = (times[-1] - times[0]) // step_ms if times else 0
    # An engine that answers beyond what was asked for has no steps to fill.
    if steps + 1 == len(times) or not 0 < steps <= ENGINE_POINTS:
        return list(zip(values, times, strict=True))
    present = dict(zip(times, values, strict=True))
    return [(present.get(time), time) for time in range(times[0], times[-1] + 1, step_ms)]


def is_plain(series: ResultSeries) -> bool:
    """Whether JSON can hold every value. The sum is the quick test: if it is finite, every value is."""
    return isfinite(sum(series.values)) or all(map(isfinite, series.values))


def build_meta(result: TargetResult, more_notices: Iterable[str] = (), **others: object) -> Element:
    """The `meta` of an element: the query for the inspector, and notices for the panel's header."""
    meta: Element = {"executedQueryString": result.plan.executed, **others}
    if notices := [build_notice("warning", text) for text in (*result.notices, *more_notices)]:
        meta["notices"] = notices
    return meta


def _without_query(meta: Element) -> Element:
    """The `meta` of all elements but the first: the header would repeat notices, and the query would stand in each."""
    return {key: value for key, value in meta.items() if key not in ("notices", "executedQueryString")}


def build_notice(severity: str, text: str) -> Element:
    """A notice in the panel's header; the severity is `info`, `warning` or `error`."""
    return {"severity": severity, "text": text}


# Units and names.


def choose_unit(result: TargetResult, series: ResultSeries) -> str:
    """The Grafana unit id of a series, or an empty string when it is unknown."""
    query = series.ask
    return grafana_unit(query.unit, query.function, query.type) if result.plan.is_catalogue else query.unit


def name_all_series(result: TargetResult) -> Iterator[tuple[ResultSeries, str]]:
    """Each series with its legend name: by the user's template, else as short as tells them apart."""
    template = result.plan.legend
    if template:
        return ((each, fill_legend(template, each.templated) or _fallback_name(each)) for each in result.series)
    if len(result.plan.asks) == 1:
        return _name_by_labels(result.series)
    return ((each, f"{each.metric}{format_series(each.labels)}") for each in result.series)


def _name_by_labels(all_series: Sequence[ResultSeries]) -> Iterator[tuple[ResultSeries, str]]:
    """Names for the series of one query: a catalogue entry's name is left out, and so is the name of a single label."""
    names: set[str] = set()
    for series in all_series:
        names.update(series.named)
        if len(names) > 1:
            break
    only = names.pop() if len(names) == 1 else None
    for series in all_series:
        labels = series.named
        yield series, (format_series(labels) if only is None else labels.get(only)) or _fallback_name(series)


def fill_legend(template: str, labels: Mapping[str, str]) -> str:
    """The template with every `{{label}}` replaced by its value, or by nothing when the label is absent.

    It is cut where it gets too long: a template may name a long label a hundred times.
    """
    # Every second piece is a label's name.
    pieces = _LEGEND_LABEL.split(template)
    return join_short([labels.get(piece, "") if at % 2 else piece for at, piece in enumerate(pieces)])


def _fallback_name(series: ResultSeries) -> str:
    return series.ask.name or series.ask.promql[:_LONGEST_NAME]


# Buckets of heatmaps.


def _add_bucket(groups: BucketGroups, series: ResultSeries) -> None:
    """Add a series, if it has a usable label `le`."""
    labels = series.labels
    bound = _parse_bound(labels.get("le"))
    if bound is not None:
        others = tuple(sorted((name, value) for name, value in labels.items() if name != "le"))
        groups[others][bound] = series


def _parse_bound(le: str | None) -> float | None:
    try:
        return inf if le == "+Inf" else None if le is None else float(le)
    except ValueError:
        return None


def _subtract(count: float | None, below: float) -> float | None:
    """The count of a bucket without the one below; never negative, though a scrape between the two can make it so."""
    return None if count is None or isnan(count) else max(0.0, count - (0.0 if isnan(below) else below))
