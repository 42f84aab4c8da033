"""Readings as exposition text: Prometheus text 0.0.4 and OpenMetrics 1.0.

The formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/. What they share is written once;
`Exposition` holds the differences.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum

from gatewayz_metrics.catalogue import Family
from gatewayz_metrics.promql.template import MARKER_LABEL, MARKER_VALUE
from gatewayz_metrics.query import Measured, Reading, Snapshot
from gatewayz_metrics.render.histogram import complete

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
_MARKER = f'{MARKER_LABEL}="{MARKER_VALUE}"'


class Exposition(Enum):
    """The ways to write a page; the value is its content type."""

    PLAIN = "text/plain; charset=utf-8"
    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @property
    def is_openmetrics(self) -> bool:
        """OpenMetrics knows no comments, but units, an end mark and stricter values."""
        return self is Exposition.OPENMETRICS


def exposition(families: Iterable[Family], snapshot: Snapshot, form: Exposition) -> bytes:
    """The page of some families. Text that is not Unicode is replaced, never a reason to fail."""
    if snapshot.outage is not None:
        lines: Iterable[str] = _comments([snapshot.outage.sentence], form)
    else:
        lines = _page(families, snapshot, form)
    end = "# EOF\n" if form.is_openmetrics else ""
    return ("".join(f"{line}\n" for line in lines) + end).encode("utf-8", "replace")


def _page(families: Iterable[Family], snapshot: Snapshot, form: Exposition) -> Iterator[str]:
    yield from _comments((f"Warning: {text}" for text in snapshot.warnings), form)
    for family in families:
        yield from _family(family, snapshot.readings[family.name], form)


def _family(family: Family, reading: Reading, form: Exposition) -> Iterator[str]:
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


def _heading(family: Family, form: Exposition) -> Iterator[str]:
    if not form.is_openmetrics:
        yield f"# HELP {family.name} {_escape(family.help)}"
        yield f"# TYPE {family.name} {family.type}"
        return
    name = family.name.removesuffix("_total") if family.type == "counter" else family.name
    yield f"# HELP {name} {_escape_all(family.help)}"
    yield f"# TYPE {name} {family.type}"
    if name.endswith(f"_{family.unit}"):
        yield f"# UNIT {name} {family.unit}"


def _valid(family: Family, samples: Iterable[Measured], form: Exposition) -> list[Measured]:
    """The samples that the format allows, in a stable order."""
    if family.type == "histogram":
        return complete(family.name, samples, canonical=form.is_openmetrics)
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
    return name != MARKER_LABEL and not name.startswith("__")


def _name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_all(text: str) -> str:
    return _escape(text).replace('"', r"\"")


def _comments(sentences: Iterable[str], form: Exposition) -> Iterator[str]:
    if not form.is_openmetrics:
        yield from (f"# {_escape(sentence)}" for sentence in sentences)
