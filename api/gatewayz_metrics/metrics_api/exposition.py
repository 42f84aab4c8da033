"""Readings as exposition text: Prometheus text 0.0.4 and OpenMetrics 1.0.

The formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/. Their differences follow
`ExpositionFormat.is_openmetrics`.
"""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import inf, isfinite, isnan

from gatewayz_metrics.catalogue import Family
from gatewayz_metrics.cooperative import run_cooperatively, sort_in_runs, yield_periodically
from gatewayz_metrics.memory import AnswerBuffer, borrow_memory
from gatewayz_metrics.metrics_api.summary import format_go_float
from gatewayz_metrics.promql.build import EXPORT_LABEL, EXPORT_VALUE
from gatewayz_metrics.query import NamedSample, Reading, Snapshot

Labels = tuple[tuple[str, str], ...]

_INVALID_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")
# Bytes, measured: a sample while all of a family are put in order.
_SORTED = 500
# On every sample, so that queries can exclude our own exports from the series that they are computed from.
_EXPORT_PAIR = f'{EXPORT_LABEL}="{EXPORT_VALUE}"'


class ExpositionFormat(Enum):
    """The format of a page; the value is its content type."""

    PLAIN = "text/plain; charset=utf-8"
    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @property
    def is_openmetrics(self) -> bool:
        """Whether it is OpenMetrics, which has units and an end mark, but no comments, and restricts values more."""
        return self is ExpositionFormat.OPENMETRICS


async def render_exposition(families: Iterable[Family], snapshot: Snapshot, form: ExpositionFormat) -> bytes:
    """The page of some families; lone surrogates in label values are replaced, as UTF-8 cannot encode them.

    Other requests run in between. Raises MemoryFull.
    """
    pause = yield_periodically()
    page = AnswerBuffer()
    if snapshot.outage is not None:
        lines = _from(_comments([snapshot.outage.sentence], form))
    else:
        lines = _render_page(families, snapshot, form)
    async for line in lines:
        page.write(f"{line}\n".encode("utf-8", "replace"))
        await pause()
    page.write(b"# EOF\n" if form.is_openmetrics else b"")
    return page.finish()


async def _from(lines: Iterable[str]) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def _render_page(families: Iterable[Family], snapshot: Snapshot, form: ExpositionFormat) -> AsyncIterator[str]:
    for line in _comments((f"Warning: {text}" for text in snapshot.warnings), form):
        yield line
    for family in families:
        async for line in _render_family(family, snapshot.readings[family.name], form):
            yield line


async def _render_family(family: Family, reading: Reading, form: ExpositionFormat) -> AsyncIterator[str]:
    """The lines of one family: HELP and TYPE alone without data, only a comment when it failed."""
    if reading.error is not None:
        for line in _comments([f"{family.name}: {reading.error.sentence}"], form):
            yield line
        return
    for line in _render_heading(family, form):
        yield line
    with borrow_memory(_SORTED * len(reading.samples)):
        is_empty = True
        async for sample in _select_samples(family, reading.samples, form):
            is_empty = False
            yield f"{sample.name}{{{_render_labels(sample.labels)}}} {sample.value}"
    if is_empty:
        for line in _comments([f"{family.name}: no data"], form):
            yield line


def _render_heading(family: Family, form: ExpositionFormat) -> Iterator[str]:
    if not form.is_openmetrics:
        # The text format escapes no quotes in HELP, OpenMetrics does.
        yield f"# HELP {family.name} {_escape(family.help)}"
        yield f"# TYPE {family.name} {family.type}"
        return
    # OpenMetrics: a counter's family has no `_total`, its samples do; a unit must be the end of the name.
    name = family.name.removesuffix("_total") if family.type == "counter" else family.name
    yield f"# HELP {name} {_escape_all(family.help)}"
    yield f"# TYPE {name} {family.type}"
    if name.endswith(f"_{family.unit}"):
        yield f"# UNIT {name} {family.unit}"


async def _select_samples(
    family: Family, samples: Sequence[NamedSample], form: ExpositionFormat
) -> AsyncIterator[NamedSample]:
    """The samples that the format allows, in the order of their labels."""
    if family.type == "histogram":
        async for sample in complete_histograms(family.name, samples, canonical=form.is_openmetrics):
            yield sample
        return
    # A negative or NaN counter makes a scraper reject the whole page.
    takes_all = not (form.is_openmetrics and family.type == "counter")
    in_order = sort_in_runs(samples, key=lambda one: (sorted(one.labels.items()), one.name))
    for sample in await run_cooperatively(in_order):
        if takes_all or float(sample.value) >= 0:
            yield sample


def _render_labels(labels: dict[str, str]) -> str:
    exported = ((_INVALID_IN_NAMES.sub("_", name), value) for name, value in labels.items() if _is_exported(name))
    pairs = [f'{name}="{_escape_all(value)}"' for name, value in exported]
    return ",".join([*pairs, _EXPORT_PAIR])


def _is_exported(name: str) -> bool:
    """Whether a label is written: `__` starts reserved names, and the export label is added to every sample."""
    return name != EXPORT_LABEL and not name.startswith("__")


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_all(text: str) -> str:
    return _escape(text).replace('"', r"\"")


def _comments(sentences: Iterable[str], form: ExpositionFormat) -> Iterator[str]:
    if not form.is_openmetrics:
        yield from (f"# {_escape(sentence)}" for sentence in sentences)


# Classic histograms.


@dataclass(slots=True)
class _Child:
    """The samples of a histogram with the same labels, `le` aside; buckets by their bound."""

    buckets: dict[float, list[NamedSample]] = field(default_factory=lambda: defaultdict(list))
    total: NamedSample | None = None
    count: NamedSample | None = None

    def add(self, sample: NamedSample, bound: float) -> None:
        if sample.name.endswith("_bucket"):
            self.buckets[bound].append(sample)
        elif sample.name.endswith("_sum"):
            self.total = sample
        else:
            self.count = sample


async def complete_histograms(
    name: str, samples: Iterable[NamedSample], *, canonical: bool
) -> AsyncIterator[NamedSample]:
    """The samples of a classic histogram: cumulative buckets up to +Inf, sum and count per label set.

    A label set without a count is left out. Sums over replicas can have two faults, which are repaired:
    one bound may be written in two ways (`1` and `1.0`), each with a part of the count, and replicas may
    have different bounds, so that a bound of some alone counts too few.

    `canonical` writes bounds as OpenMetrics does (`1.0`, not `1`).
    """
    pause = yield_periodically()
    children: dict[Labels, _Child] = defaultdict(_Child)
    for sample in samples:
        await pause()
        bound = _parse_bound(sample.labels.get("le"))
        if not isnan(bound) and not isnan(float(sample.value)):
            key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            children[key].add(sample, bound)
    for key in await run_cooperatively(sort_in_runs(list(children))):
        for sample in _complete_child(name, dict(key), children[key], canonical):
            yield sample


def _parse_bound(le: str | None) -> float:
    """The upper bound; +Inf for a sample without `le`, NaN when it is no number."""
    try:
        return inf if le is None else float(le)
    except ValueError:
        return float("nan")


def _complete_child(name: str, labels: dict[str, str], child: _Child, canonical: bool) -> Iterator[NamedSample]:
    count = child.count.value if child.count else _add_up(child.buckets.get(inf, []))
    if count is None:
        return
    below = 0.0
    for bound in sorted(bound for bound in child.buckets if isfinite(bound)):
        value = _add_up(child.buckets[bound])
        # A bound that only some replicas have counts fewer than the one below: it is left out, not estimated.
        if value is not None and below <= float(value) <= float(count):
            below = float(value)
            le = format_go_float(bound) if canonical else child.buckets[bound][0].labels["le"]
            yield NamedSample(f"{name}_bucket", {**labels, "le": le}, value)
    yield NamedSample(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
    if child.total is not None:
        yield NamedSample(f"{name}_sum", labels, child.total.value)
    # OpenMetrics allows a count only together with a sum.
    if child.total is not None or not canonical:
        yield NamedSample(f"{name}_count", labels, count)


def _add_up(samples: list[NamedSample]) -> str | None:
    """The count of one bound over its spellings; the engine's own text when there is only one."""
    if len(samples) <= 1:
        return samples[0].value if samples else None
    return format_go_float(sum(float(sample.value) for sample in samples))
