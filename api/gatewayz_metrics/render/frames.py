"""Curves as data frames: labels, units, and the values that JSON has no literal for.

The format: https://grafana.com/developers/dataplane/ and `DataFrameJSON` in
https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/dataframe/DataFrameJSON.ts.
"""

from collections.abc import Iterator, Sequence
from math import isfinite, isnan

from gatewayz_metrics.datasource.answers import Answer
from gatewayz_metrics.render.panels import Element, meta, names, unit_of


def frames(answer: Answer) -> Iterator[Element]:
    """A frame per curve."""
    shared = meta(answer, type="timeseries-multi", typeVersion=[0, 1], preferredVisualisationType="graph")
    silent = {key: value for key, value in shared.items() if key != "notices"}
    for number, (curve, name) in enumerate(zip(answer.curves, names(answer), strict=True)):
        config = {"displayNameFromDS": name, **({"unit": unit} if (unit := unit_of(answer, curve)) else {})}
        fields: list[Element] = [
            {"name": "Time", "type": "time", "config": {"interval": answer.plan.grid.step}},
            {"name": "Value", "type": "number", "labels": curve.labels, "config": config},
        ]
        series = curve.series
        yield frame(answer.plan.ref_id, name, fields, [series.times, series.values], shared if not number else silent)


def frame(
    ref_id: str, name: str, fields: Sequence[Element], values: Sequence[Sequence[object]], meta: Element
) -> Element:
    """One frame of any fields; NaN and infinities of number fields travel beside the values."""
    entities = [
        special(column) if field["type"] == "number" else None for field, column in zip(fields, values, strict=True)
    ]
    data: Element = {"values": values}
    if any(entities):
        data["entities"] = entities
    return {"schema": {"refId": ref_id, "name": name, "meta": meta, "fields": fields}, "data": data}


def special(values: Sequence[object]) -> Element | None:
    """Where a column holds what the encoder writes as null, though it is something."""
    found: dict[str, list[int]] = {}
    for at, value in enumerate(values):
        if isinstance(value, float) and not isfinite(value):
            found.setdefault("NaN" if isnan(value) else "Inf" if value > 0 else "NegInf", []).append(at)
    return found or None
