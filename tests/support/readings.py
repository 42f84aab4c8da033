"""Readings from single samples, as tests write them down."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gatewayz_metrics.query import NamedTable, Reading
from gatewayz_metrics.upstream.response import Row, Vector


class NamedSample(NamedTuple):
    """One sample under its name."""

    name: str
    labels: Mapping[str, str]
    value: str


def values_of(vector: Vector) -> list[str]:
    """The values of a vector's samples."""
    return [row[-1] for tables in vector.parts.values() for table in tables for row in table.rows]


def reading_of(samples: Iterable[NamedSample]) -> Reading:
    """A reading that has the samples, those of one name with the same label names in their order."""
    rows: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
    for sample in samples:
        row = (*sample.labels.values(), sample.value)
        rows.setdefault((sample.name, tuple(sample.labels)), []).append(row)
    return Reading(tuple(NamedTable(name, labels, found) for (name, labels), found in rows.items()))
