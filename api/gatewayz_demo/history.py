"""The samples that Prometheus would have scraped so far, as OpenMetrics text with timestamps.

The text is made for `promtool tsdb create-blocks-from openmetrics`. The format:
https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

from collections.abc import Iterator
from typing import TextIO

from gatewayz_demo import scrape
from gatewayz_demo.metric_store import MetricStore, StoredSeries
from gatewayz_demo.scrape import ScrapeTarget
from gatewayz_demo.simulator import Simulator


def write_history(file: TextIO, simulator: Simulator, *, since: float, until: float) -> int:
    """Writes every scrape between two times (Unix seconds) and returns the number of samples.

    Advances the simulator to the last of them.
    """
    times: list[float] = []
    stores = simulator.stores
    rows: dict[ScrapeTarget, list[list[float]]] = {target: [] for target in stores}
    time = since
    while time <= until:
        simulator.advance(time)
        times.append(time)
        for target, store in stores.items():
            rows[target].append(list(store.values))
        time += scrape.INTERVAL
    timestamps = [f" {time:.3f}\n" for time in times]
    # Written at the end: the format wants a family in one block, not a scrape.
    file.writelines(_format_families(stores, rows, timestamps))
    file.writelines(_format_up(stores, timestamps))
    file.write("# EOF\n")
    return sum(len(row) + 1 for scraped in rows.values() for row in scraped)


def _format_families(
    stores: dict[ScrapeTarget, MetricStore], rows: dict[ScrapeTarget, list[list[float]]], timestamps: list[str]
) -> Iterator[str]:
    """One block per family, as the format demands, even when both pages export it."""
    blocks: dict[str, list[str]] = {}
    for target, store in stores.items():
        for family, children in store.families.items():
            block = blocks.setdefault(family.title, [f"# TYPE {family.title} {family.kind}\n"])
            for child in children:
                block.extend(_format_child(child, target, rows[target], timestamps))
    for block in blocks.values():
        yield from block


def _format_child(
    child: list[StoredSeries], target: ScrapeTarget, rows: list[list[float]], timestamps: list[str]
) -> Iterator[str]:
    """The samples of one child by time: the format wants all samples of a point in time together."""
    heads = [(f"{name}{_format_labels(labels, target)} ", position) for name, labels, position in child]
    for row, timestamp in zip(rows, timestamps, strict=True):
        # A child that came later than the scrape is not in it.
        if heads[-1][1] < len(row):
            for head, position in heads:
                yield f"{head}{row[position]!r}{timestamp}"


def _format_up(stores: dict[ScrapeTarget, MetricStore], timestamps: list[str]) -> Iterator[str]:
    """The series `up`, which Prometheus adds to every scrape."""
    yield "# TYPE up gauge\n"
    for target in stores:
        head = f"up{_format_labels({}, target)} 1"
        yield from (f"{head}{timestamp}" for timestamp in timestamps)


def _format_labels(own: dict[str, str], target: ScrapeTarget) -> str:
    pairs = {**own, "job": target.job, **target.labels}
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in pairs.items()) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
