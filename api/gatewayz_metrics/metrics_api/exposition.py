"""Readings as exposition text: Prometheus text 0.0.4 and OpenMetrics 1.0.

The formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/. What they share is written once;
`Exposition` holds the differences.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf, isfinite, isnan

from gatewayz_metrics.catalogue import Family
from gatewayz_metrics.metrics_api.summary import format_go_float
from gatewayz_metrics.promql.build import EXPORT_LABEL, EXPORT_VALUE
from gatewayz_metrics.query import NamedSample, Reading, Snapshot

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
_MARKER = f'{EXPORT_LABEL}="{EXPORT_VALUE}"'


class ExpositionFormat(Enum):
    """The ways to write a page; the value is its content type."""

    PLAIN = "text/plain; charset=utf-8"
    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @property
    def is_openmetrics(self) -> bool:
        """OpenMetrics knows no comments, but units, an end mark and stricter values."""
        return self is ExpositionFormat.OPENMETRICS


def render_exposition(families: Iterable[Family], snapshot: Snapshot, form: ExpositionFormat) -> bytes:
    """The page of some families. Text that is not Unicode is replaced, never a reason to fail."""
    if snapshot.outage is not None:
        lines: Iterable[str] = _comments([snapshot.outage.sentence], form)
    else:
        lines = _page(families, snapshot, form)
    end = "# EOF\n" if form.is_openmetrics else ""
    return ("".join(f"{line}\n" for line in lines) + end).encode("utf-8", "replace")


def _page(families: Iterable[Family], snapshot: Snapshot, form: ExpositionFormat) -> Iterator[str]:
    yield from _comments((f"Warning: {text}" for text in snapshot.warnings), form)
    for family in families:
        yield from _family(family, snapshot.readings[family.name], form)


def _family(family: Family, reading: Reading, form: ExpositionFormat) -> Iterator[str]:
    """One block. A family that failed has no block, one without data has a block without samples."""
    if reading.error is not None:
        yield from _comments([f"{family.name}: {reading.error.sentence}"], form)
        return
    yield from _heading(family, form)
    samples = _valid(family, reading.samples, form)
    if not samples:
        yield from _comments([f"{family.name}: no data"], form)
    for sample in samples:
        yield f"{sample.name}{{{_labels(sample.labels)}}} {sample.value}"


def _heading(family: Family, form: ExpositionFormat) -> Iterator[str]:
    if not form.is_openmetrics:
        yield f"# HELP {family.name} {_escape(family.help)}"
        yield f"# TYPE {family.name} {family.type}"
        return
    name = family.name.removesuffix("_total") if family.type == "counter" else family.name
    yield f"# HELP {name} {_escape_all(family.help)}"
    yield f"# TYPE {name} {family.type}"
    if name.endswith(f"_{family.unit}"):
        yield f"# UNIT {name} {family.unit}"


def _valid(family: Family, samples: Iterable[NamedSample], form: ExpositionFormat) -> list[NamedSample]:
    """The samples that the format allows, in a stable order."""
    if family.type == "histogram":
        return complete_histograms(family.name, samples, canonical=form.is_openmetrics)
    ordered = sorted(samples, key=lambda sample: (sorted(sample.labels.items()), sample.name))
    if form.is_openmetrics and family.type == "counter":
        # One impossible counter would make a scraper throw the whole page away.
        return [sample for sample in ordered if float(sample.value) >= 0]
    return ordered


def _labels(labels: dict[str, str]) -> str:
    own = ",".join(f'{_name(name)}="{_escape_all(value)}"' for name, value in labels.items() if _is_ours_to_write(name))
    return f"{own},{_MARKER}" if own else _MARKER


def _is_ours_to_write(name: str) -> bool:
    """Names with two underscores are reserved, and the marker is added to every sample anyway."""
    return name != EXPORT_LABEL and not name.startswith("__")


def _name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_all(text: str) -> str:
    return _escape(text).replace('"', r"\"")


def _comments(sentences: Iterable[str], form: ExpositionFormat) -> Iterator[str]:
    if not form.is_openmetrics:
        yield from (f"# {_escape(sentence)}" for sentence in sentences)


# DOC Classic histograms made complete: cumulative buckets that end in +Inf, sum and count.
#
# Sums over replicas meet two imperfections of the sources. One boundary may be written in
# two ways (`1` and `1.0`), each holding a part of the count; and replicas may have
# different boundaries, which leaves those that not everybody has too small.
#


Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Child:
    """The samples of one label set, the boundary aside."""

    buckets: dict[float, list[NamedSample]] = field(default_factory=lambda: defaultdict(list))
    total: NamedSample | None = None
    count: NamedSample | None = None

    def add(self, sample: NamedSample, boundary: float) -> None:
        if sample.name.endswith("_bucket"):
            self.buckets[boundary].append(sample)
        elif sample.name.endswith("_sum"):
            self.total = sample
        else:
            self.count = sample


def complete_histograms(name: str, samples: Iterable[NamedSample], *, canonical: bool) -> list[NamedSample]:
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


def _lines(name: str, labels: dict[str, str], child: _Child, canonical: bool) -> Iterator[NamedSample]:
    count = child.count.value if child.count else _merged(child.buckets.get(inf, []))
    if count is None:
        return
    reached = 0.0
    for boundary in sorted(boundary for boundary in child.buckets if isfinite(boundary)):
        value = _merged(child.buckets[boundary])
        # A boundary that only some replicas have counts too few: it is left out, not guessed.
        if value is not None and reached <= float(value) <= float(count):
            reached = float(value)
            le = format_go_float(boundary) if canonical else child.buckets[boundary][0].labels["le"]
            yield NamedSample(f"{name}_bucket", {**labels, "le": le}, value)
    yield NamedSample(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
    if child.total is not None:
        yield NamedSample(f"{name}_sum", labels, child.total.value)
    # OpenMetrics allows a count beside a sum alone.
    if child.total is not None or not canonical:
        yield NamedSample(f"{name}_count", labels, count)


def _merged(samples: list[NamedSample]) -> str | None:
    """The value of one boundary, whose count may lie in several spellings of it."""
    if len(samples) <= 1:
        return samples[0].value if samples else None
    return format_go_float(sum(float(sample.value) for sample in samples))
