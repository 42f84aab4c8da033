"""Classic histograms made complete: cumulative buckets that end in +Inf, sum and count.

Sums over replicas meet two imperfections of the sources. One boundary may be written in
two ways (`1` and `1.0`), each holding a part of the count; and replicas may have
different boundaries, which leaves those that not everybody has too small.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf, isfinite, isnan

from gatewayz_metrics.query import Measured
from gatewayz_metrics.render.numbers import go_float

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Child:
    """The samples of one label set, the boundary aside."""

    buckets: dict[float, list[Measured]] = field(default_factory=lambda: defaultdict(list))
    total: Measured | None = None
    count: Measured | None = None

    def add(self, sample: Measured, boundary: float) -> None:
        if sample.name.endswith("_bucket"):
            self.buckets[boundary].append(sample)
        elif sample.name.endswith("_sum"):
            self.total = sample
        else:
            self.count = sample


def complete(name: str, samples: Iterable[Measured], *, canonical: bool) -> list[Measured]:
    """The samples of a histogram family, each child complete or left out.

    `canonical` writes boundaries as OpenMetrics wants them (`1.0`, not `1`).
    """
    children: dict[Labels, _Child] = defaultdict(_Child)
    for sample in samples:
        boundary = _boundary(sample.labels.get("le"))
        if not isnan(boundary) and not isnan(float(sample.value)):
            key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            children[key].add(sample, boundary)
    return [line for key in sorted(children) for line in _lines(name, dict(key), children[key], canonical)]


def _boundary(le: str | None) -> float:
    """The upper bound; +Inf where there is none to read, NaN where it is no number."""
    try:
        return inf if le is None else float(le)
    except ValueError:
        return float("nan")


def _lines(name: str, labels: dict[str, str], child: _Child, canonical: bool) -> Iterator[Measured]:
    count = child.count.value if child.count else _merged(child.buckets.get(inf, []))
    if count is None:
        return
    reached = 0.0
    for boundary in sorted(boundary for boundary in child.buckets if isfinite(boundary)):
        value = _merged(child.buckets[boundary])
        # A boundary that only some replicas have counts too few: it is left out, not guessed.
        if value is not None and reached <= float(value) <= float(count):
            reached = float(value)
            le = go_float(boundary) if canonical else child.buckets[boundary][0].labels["le"]
            yield Measured(f"{name}_bucket", {**labels, "le": le}, value)
    yield Measured(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
    if child.total is not None:
        yield Measured(f"{name}_sum", labels, child.total.value)
    # OpenMetrics allows a count beside a sum alone.
    if child.total is not None or not canonical:
        yield Measured(f"{name}_count", labels, count)


def _merged(samples: list[Measured]) -> str | None:
    """The value of one boundary, whose count may lie in several spellings of it."""
    if len(samples) <= 1:
        return samples[0].value if samples else None
    return go_float(sum(float(sample.value) for sample in samples))
