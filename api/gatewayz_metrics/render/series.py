"""Curves as series of datapoints, which both generations of plugins read."""

from collections.abc import Iterator
from math import isfinite

from gatewayz_metrics.datasource.answers import Answer
from gatewayz_metrics.datasource.series import Series
from gatewayz_metrics.render.panels import Element, meta, names, unit_of


def is_plain(series: Series) -> bool:
    """Whether every value is a number that JSON has; a sum is finite only when all of it is."""
    return isfinite(sum(series.values)) or all(map(isfinite, series.values))


def series(answer: Answer) -> Iterator[Element]:
    """A series per curve."""
    shared = meta(answer, preferredVisualisationType="graph")
    silent = {key: value for key, value in shared.items() if key != "notices"}
    for number, (curve, name) in enumerate(zip(answer.curves, names(answer), strict=True)):
        element: Element = {
            "refId": answer.plan.ref_id,
            "target": name,
            "title": name,
            "tags": curve.labels,
            "datapoints": datapoints(curve.series, answer.plan.grid.step),
            "meta": shared if number == 0 else silent,
        }
        if unit := unit_of(answer, curve):
            element["unit"] = unit
        yield element


def datapoints(found: Series, step: int) -> list[tuple[float | None, int]]:
    """Values with their times; a null wherever a sample is missing, or a line would cross the gap."""
    times, values = found.times, found.values
    if not times or (times[-1] - times[0]) // step + 1 == len(times):
        return list(zip(values, times, strict=True))
    present = dict(zip(times, values, strict=True))
    return [(present.get(time), time) for time in range(times[0], times[-1] + 1, step)]
