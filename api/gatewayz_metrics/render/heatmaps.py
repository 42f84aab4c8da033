"""Cumulative buckets as the rows of a heatmap: what fell between one bound and the next."""

from collections import defaultdict
from collections.abc import Iterator
from math import inf, isnan

from gatewayz_metrics.datasource.answers import Answer, Curve
from gatewayz_metrics.render.frames import frame
from gatewayz_metrics.render.panels import Element, empty, meta

Labels = tuple[tuple[str, str], ...]


def heatmaps(answer: Answer) -> Iterator[Element]:
    """A frame per label set, a field per bucket, ascending."""
    about = meta(answer, type="heatmap-rows")
    if not any("le" in curve.labels for curve in answer.curves):
        yield empty(answer, "A heatmap needs buckets, and no series has a label le; group by it, or choose a family.")
    for labels, curves in _by_labels(answer.curves).items():
        times = sorted({time for curve in curves.values() for time in curve.series.times})
        fields: list[Element] = [{"name": "Time", "type": "time", "config": {"interval": answer.plan.grid.step}}]
        columns: list[list[object]] = [list(times)]
        below: dict[int, float] = {}
        for bound in sorted(curves):
            here = dict(zip(curves[bound].series.times, curves[bound].series.values, strict=True))
            fields.append({"name": curves[bound].labels["le"], "type": "number", "labels": dict(labels)})
            columns.append([_between(here.get(time), below.get(time, 0.0)) for time in times])
            below |= here
        yield frame(answer.plan.ref_id, answer.plan.ref_id, fields, columns, about)


def _between(count: float | None, below: float) -> float | None:
    """How many observations a bucket has of its own; scrapes between two buckets may make it negative."""
    return None if count is None or isnan(count) else max(0.0, count - (0.0 if isnan(below) else below))


def _by_labels(curves: tuple[Curve, ...]) -> dict[Labels, dict[float, Curve]]:
    found: dict[Labels, dict[float, Curve]] = defaultdict(dict)
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
