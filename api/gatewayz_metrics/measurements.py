"""What several processes have measured about themselves, put together as if one process had.

Counters and histograms are sums. Of each gauge its family says how the values of several processes make one.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from operator import add

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

# A sample's name and labels.
SampleKey = tuple[str, tuple[tuple[str, str], ...]]
# The samples of each family, in the order of the exposition.
Measurements = dict[str, dict[SampleKey, float]]
# What two processes' values of one sample make together.
Merge = Callable[[float, float], float]


def furthest_from_zero(first: float, second: float) -> float:
    """The larger deviation, with its sign."""
    return max(first, second, key=abs)


def measure(registry: CollectorRegistry) -> Measurements:
    """The values of a registry, as they can be handed to another process."""
    return {
        family.name: {(sample.name, tuple(sample.labels.items())): sample.value for sample in family.samples}
        for family in registry.collect()
    }


def merge_measurements(found: Iterable[Measurements], gauges: Mapping[str, Merge]) -> Measurements:
    """One value for each sample that any of the processes has; `gauges` has the rule of every family of gauges."""
    merged: Measurements = {}
    for one in found:
        for family, samples in one.items():
            into = merged.setdefault(family, {})
            for key, value in samples.items():
                into[key] = _rule(family, key[0], gauges)(into[key], value) if key in into else value
    return merged


def _rule(family: str, sample: str, gauges: Mapping[str, Merge]) -> Merge:
    if family in gauges:
        return gauges[family]
    # When counting began: with the first of the processes.
    return min if sample.endswith("_created") else add


def without_gauges(found: Measurements, gauges: Container[str]) -> Measurements:
    """What stays true of a process that has ended."""
    return {family: samples for family, samples in found.items() if family not in gauges}


def render_measurements(found: Measurements, registry: CollectorRegistry) -> bytes:
    """The values in the text format 0.0.4, with types and texts of the families of a registry."""
    page = CollectorRegistry(auto_describe=False)
    page.register(_Measured(found, registry))
    return generate_latest(page)


class _Measured(Collector):
    """Families with the values of several processes."""

    def __init__(self, found: Measurements, registry: CollectorRegistry) -> None:
        self._found = found
        self._registry = registry

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry of one page has no names to keep apart."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families, in the order of the registry."""
        for own in self._registry.collect():
            family = Metric(own.name, own.documentation, own.type)
            for (name, labels), value in self._found.get(own.name, {}).items():
                family.add_sample(name, dict(labels), value)
            yield family
