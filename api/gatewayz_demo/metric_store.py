"""The numbers of a simulated exporter: every series known from the start, all values in one flat list.

A whole instant is then one list to copy, which makes an hour of history a matter of a second.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Literal, NamedTuple

from prometheus_client.core import Metric

Kind = Literal["counter", "gauge", "histogram", "summary"]


@dataclass(frozen=True)
class ExportedFamily:
    """A metric family as the exporter declares it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """The name after TYPE, where OpenMetrics leaves a counter's ending off."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


class StoredSeries(NamedTuple):
    """One sample name with its labels, and the place of its value."""

    name: str
    labels: dict[str, str]
    at: int


class Cell:
    """The value of one counter or gauge child."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: list[float], at: int) -> None:
        """The cell at a place in the list."""
        self._values, self._at = values, at

    def add(self, amount: float = 1) -> None:
        """Counts."""
        self._values[self._at] += amount

    def set(self, value: float) -> None:
        """Replaces the value."""
        self._values[self._at] = value


class Distribution:
    """The buckets, sum and count of one histogram or summary child."""

    __slots__ = ("_at", "_bounds", "_sum", "_values")

    def __init__(self, values: list[float], at: int, bounds: tuple[float, ...]) -> None:
        """The run of values from a place on; a summary has no bounds."""
        self._values, self._at, self._bounds = values, at, bounds
        self._sum = at + len(bounds)

    def observe(self, amount: float) -> None:
        """Counts one measurement in every bucket that holds it."""
        values = self._values
        for place in range(self._at + bisect_left(self._bounds, amount), self._sum):
            values[place] += 1
        values[self._sum] += amount
        values[self._sum + 1] += 1


@dataclass(eq=False)
class MetricStore:
    """Every series of an exporter and its value now, child by child."""

    created: float
    values: list[float] = field(default_factory=list)
    families: dict[ExportedFamily, list[list[StoredSeries]]] = field(default_factory=dict)

    def declare(self, family: ExportedFamily) -> list[list[StoredSeries]]:
        """The children of a family, which may stay without any."""
        return self.families.setdefault(family, [])

    def cell(self, family: ExportedFamily, *labels: str) -> Cell:
        """A new child of a counter or gauge."""
        names: list[tuple[str, dict[str, str]]] = [(family.name, {})]
        return Cell(self.values, self._append(family, labels, names))

    def distribution(self, family: ExportedFamily, *labels: str) -> Distribution:
        """A new child of a histogram or summary."""
        bounds = (*family.buckets, math.inf) if family.buckets else ()
        names: list[tuple[str, dict[str, str]]] = [
            *((f"{family.name}_bucket", {"le": _le(bound)}) for bound in bounds),
            (f"{family.name}_sum", {}),
            (f"{family.name}_count", {}),
        ]
        return Distribution(self.values, self._append(family, labels, names), bounds)

    def series(self) -> Iterator[StoredSeries]:
        """Every series."""
        return (each for children in self.families.values() for child in children for each in child)

    def collect(self) -> Iterator[Metric]:
        """The families as a registry of prometheus_client wants them."""
        for family, children in self.families.items():
            metric = Metric(family.title, family.help, family.kind)
            for name, labels, at in chain.from_iterable(children):
                metric.add_sample(name, labels, self.values[at])
            yield metric

    def _append(self, family: ExportedFamily, labels: tuple[str, ...], names: list[tuple[str, dict[str, str]]]) -> int:
        """The place of the first value of a new child."""
        own = dict(zip(family.labels, labels, strict=True))
        start = len(self.values)
        values = [0.0] * len(names)
        if family.kind != "gauge":
            names, values = [*names, (f"{family.title}_created", {})], [*values, self.created]
        child = [StoredSeries(name, own | more, start + place) for place, (name, more) in enumerate(names)]
        self.declare(family).append(child)
        self.values.extend(values)
        return start


def _le(bound: float) -> str:
    return "+Inf" if bound == math.inf else repr(bound)


def create_cells(ledger: MetricStore, family: ExportedFamily, *axes: tuple[str, ...]) -> dict[tuple[str, ...], Cell]:
    """A child for every combination of label values."""
    return {labels: ledger.cell(family, *labels) for labels in product(*axes)}
