"""Which metrics exist, of which type and with which labels: what a catalogue's system and the service export."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gatewayz_demo import topology
from gatewayz_demo.metric_store import ExportedFamily
from gatewayz_metrics.catalogue import Catalogue
from gatewayz_metrics.telemetry import Telemetry

SCRAPED = frozenset({"job", "instance", "source", "aggregated_by"})

# Defined by no catalogue: Prometheus writes the first, every Python process exports the others.
PROCESS = {
    "up": "gauge",
    "process_start_time_seconds": "gauge",
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
}
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


@dataclass(frozen=True)
class Metric:
    """A series name, the type of its family, and the labels it can have."""

    name: str
    family: str
    type: str
    labels: frozenset[str]


def metrics(catalogue: Catalogue) -> dict[str, Metric]:
    found = (*_read(catalogue), *_defined(catalogue), *_own(), *_processes())
    deployment = {catalogue.deployment_label} if catalogue.deployment_label else set()
    return {metric.name: replace(metric, labels=metric.labels | deployment) for metric in found}


def own() -> set[str]:
    """The families that the service measures about itself."""
    return {metric.family for metric in _own()}


def _defined(catalogue: Catalogue) -> Iterator[Metric]:
    exported = {family.name: family.labels for family in _exported()}
    for family in catalogue.families:
        labels = frozenset((*family.by, *exported.get(family.name, ())))
        yield from _series(family.name, family.type, labels)


def _read(catalogue: Catalogue) -> Iterator[Metric]:
    """What only an expression of the catalogue knows: it must have the labels that its family keeps."""
    exported = {m.name: m for e in _exported() for m in _series(e.name, e.kind, frozenset(e.labels))}
    for family in catalogue.families:
        for name in family.sources:
            if name in exported:
                yield exported[name]
            else:
                yield from _series(name, "unknown", frozenset(family.by))
    for statistic in catalogue.statistics:
        yield from (exported[name] for name in statistic.sources if name in exported)


def _exported() -> Iterator[ExportedFamily]:
    for value in vars(topology).values():
        if isinstance(value, ExportedFamily):
            yield value


def _own() -> Iterator[Metric]:
    telemetry = Telemetry()
    for family in telemetry.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        collector = next(c for c in vars(telemetry).values() if getattr(c, "_name", "") == family.name)
        yield from _series(name, family.type, frozenset(collector._labelnames))


def _processes() -> Iterator[Metric]:
    for name, kind in PROCESS.items():
        yield from _series(name, kind, frozenset())


def _series(name: str, kind: str, labels: frozenset[str]) -> Iterator[Metric]:
    for suffix in _SUFFIXES.get(kind, ("",)):
        more = {"le"} if suffix == "_bucket" else set()
        yield Metric(name + suffix, name, kind, labels | SCRAPED | more)
