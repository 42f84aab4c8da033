"""Exposition text written the plain way, sample by sample: what the fast way is compared with.

It shares no code with the service. https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import math
import re
from collections.abc import Iterable, Iterator

from prometheus_client.utils import floatToGoString

from tests.support.readings import NamedSample

MARKER = 'aggregated_by="gatewayz-metrics"'


def write_samples(kind: str, name: str, samples: Iterable[NamedSample], *, openmetrics: bool) -> str:
    """The sample lines of a family."""
    if kind == "histogram":
        chosen = list(complete(name, samples, openmetrics=openmetrics))
    else:
        chosen = sorted(samples, key=lambda sample: (sorted(sample.labels.items()), sample.name))
        if openmetrics and kind == "counter":
            chosen = [sample for sample in chosen if float(sample.value) >= 0]
    return "".join(f"{sample.name}{{{write_labels(sample)}}} {sample.value}\n" for sample in chosen)


def write_labels(sample: NamedSample) -> str:
    pairs = [
        f'{re.sub("[^a-zA-Z0-9_]", "_", name)}="{escape(value)}"'
        for name, value in sample.labels.items()
        if not name.startswith("__") and name != "aggregated_by"
    ]
    return ",".join([*pairs, MARKER])


def escape(text: str) -> str:
    return "".join({"\\": "\\\\", "\n": "\\n", '"': '\\"'}.get(sign, sign) for sign in text)


def complete(name: str, samples: Iterable[NamedSample], *, openmetrics: bool) -> Iterator[NamedSample]:
    """A histogram's samples by label set: cumulative buckets, +Inf, sum, count."""
    children: dict[tuple[tuple[str, str], ...], list[NamedSample]] = {}
    for sample in samples:
        if not math.isnan(bound_of(sample)) and not math.isnan(float(sample.value)):
            key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            children.setdefault(key, []).append(sample)
    for key in sorted(children):
        yield from complete_child(name, dict(key), children[key], openmetrics=openmetrics)


def complete_child(
    name: str, labels: dict[str, str], samples: list[NamedSample], *, openmetrics: bool
) -> Iterator[NamedSample]:
    buckets = [sample for sample in samples if sample.name == f"{name}_bucket"]
    totals = [sample.value for sample in samples if sample.name == f"{name}_sum"]
    counts = [sample.value for sample in samples if sample.name == f"{name}_count"]
    bounds = sorted({bound_of(sample) for sample in buckets})
    by_bound = {bound: [sample for sample in buckets if bound_of(sample) == bound] for bound in bounds}
    if not counts and math.inf in by_bound:
        counts = [added(by_bound[math.inf])]
    if not counts:
        return
    below = 0.0
    for bound in filter(math.isfinite, bounds):
        same = by_bound[bound]
        if below <= float(added(same)) <= float(counts[-1]):
            below = float(added(same))
            le = floatToGoString(bound_of(same[0])) if openmetrics else same[0].labels["le"]
            yield NamedSample(f"{name}_bucket", {**labels, "le": le}, added(same))
    yield NamedSample(f"{name}_bucket", {**labels, "le": "+Inf"}, counts[-1])
    if totals:
        yield NamedSample(f"{name}_sum", labels, totals[-1])
    if totals or not openmetrics:
        yield NamedSample(f"{name}_count", labels, counts[-1])


def bound_of(sample: NamedSample) -> float:
    try:
        return float(sample.labels.get("le", "inf"))
    except ValueError:
        return math.nan


def added(same: list[NamedSample]) -> str:
    return same[0].value if len(same) == 1 else str(floatToGoString(sum(float(sample.value) for sample in same)))
