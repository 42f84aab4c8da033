"""The values of a simulated exporter: every series known from the start, all values in one flat list.

One scrape is then one copy of a list, which keeps hours of history cheap to write.
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
        """The name in the TYPE line; OpenMetrics drops `_total` from a counter's there."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


class StoredSeries(NamedTuple):
    """One series: sample name, labels, and the position of its value in the store's list."""

    name: str
    labels: dict[str, str]
    position: int

    @property
    def is_creation(self) -> bool:
        """Whether it tells when the others of its child began."""
        return self.name.endswith("_created")


class Cell:
    """The value of one counter or gauge."""

    __slots__ = ("_position", "_values", "_weight")

    def __init__(self, values: list[float], position: int, weight: int) -> None:
        """Refers to one entry of the store's list."""
        self._values, self._position, self._weight = values, position, weight

    def add(self, amount: float = 1) -> None:
        """Increases the value."""
        self._values[self._position] += amount * self._weight

    def set(self, value: float) -> None:
        """Replaces the value."""
        self._values[self._position] = value


class Distribution:
    """The buckets, sum and count of one histogram or summary."""

    __slots__ = ("_bounds", "_position", "_sum", "_values", "_weight")

    def __init__(self, values: list[float], position: int, bounds: tuple[float, ...], weight: int) -> None:
        """Refers to consecutive entries of the store's list: buckets, sum, count. A summary has no buckets."""
        self._values, self._position, self._bounds, self._weight = values, position, bounds, weight
        self._sum = position + len(bounds)

    def observe(self, amount: float) -> None:
        """Counts one observation in every bucket that includes it, as buckets are cumulative."""
        values, weight = self._values, self._weight
        for position in range(self._position + bisect_left(self._bounds, amount), self._sum):
            values[position] += weight
        values[self._sum] += amount * weight
        values[self._sum + 1] += weight


@dataclass(eq=False)
class MetricStore:
    """Every series of an exporter with its current value, grouped by family and label set (child).

    Every event is counted `weight` times.
    """

    created: float
    weight: int = 1
    values: list[float] = field(default_factory=list)
    families: dict[ExportedFamily, list[list[StoredSeries]]] = field(default_factory=dict)

    def declare(self, family: ExportedFamily) -> list[list[StoredSeries]]:
        """The children of a family; a family without children exports its HELP and TYPE lines only."""
        return self.families.setdefault(family, [])

    def add_cell(self, family: ExportedFamily, *labels: str) -> Cell:
        """A new child of a counter or gauge, at zero."""
        names: list[tuple[str, dict[str, str]]] = [(family.name, {})]
        return Cell(self.values, self._append(family, labels, names), self.weight)

    def add_distribution(self, family: ExportedFamily, *labels: str) -> Distribution:
        """A new child of a histogram or summary, at zero."""
        bounds = (*family.buckets, math.inf) if family.buckets else ()
        names: list[tuple[str, dict[str, str]]] = [
            *((f"{family.name}_bucket", {"le": _format_bound(bound)}) for bound in bounds),
            (f"{family.name}_sum", {}),
            (f"{family.name}_count", {}),
        ]
        return Distribution(self.values, self._append(family, labels, names), bounds, self.weight)

    def series(self) -> Iterator[StoredSeries]:
        """Every series."""
        return (each for children in self.families.values() for child in children for each in child)

    def collect(self) -> Iterator[Metric]:
        """The families in the form that a registry of prometheus_client reads."""
        for family, children in self.families.items():
            metric = Metric(family.title, family.help, family.kind)
            for name, labels, position in chain.from_iterable(children):
                metric.add_sample(name, labels, self.values[position])
            yield metric

    def _append(self, family: ExportedFamily, labels: tuple[str, ...], names: list[tuple[str, dict[str, str]]]) -> int:
        """Adds the series of a new child; returns the position of its first value."""
        own = dict(zip(family.labels, labels, strict=True))
        start = len(self.values)
        # Whole numbers are written faster than floats, and most values stay whole.
        values: list[float] = [0] * len(names)
        if family.kind != "gauge":
            # OpenMetrics gives counters, histograms and summaries a series with their time of creation.
            names, values = [*names, (f"{family.title}_created", {})], [*values, self.created]
        child = [StoredSeries(name, own | more, start + offset) for offset, (name, more) in enumerate(names)]
        self.declare(family).append(child)
        self.values.extend(values)
        return start


def create_cells(store: MetricStore, family: ExportedFamily, *axes: tuple[str, ...]) -> dict[tuple[str, ...], Cell]:
    """A child for every combination of label values."""
    return {labels: store.add_cell(family, *labels) for labels in product(*axes)}


def _format_bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else repr(bound)
