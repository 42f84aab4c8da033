"""What Prometheus would have scraped so far, as OpenMetrics text with timestamps."""

from collections.abc import Iterator
from typing import TextIO

from gatewayz_demo import scrape
from gatewayz_demo.metric_store import MetricStore, StoredSeries
from gatewayz_demo.scrape import ScrapeTarget
from gatewayz_demo.simulator import Simulator


def write_history(file: TextIO, world: Simulator, *, since: float, until: float) -> int:
    """Lives through the world's time, writes every scrape between two moments and counts the samples."""
    instants: list[float] = []
    columns: dict[ScrapeTarget, list[list[float]]] = {scrape.METRICS: [], scrape.DATA_METRICS: []}
    ledgers = {scrape.METRICS: world.metrics, scrape.DATA_METRICS: world.data}
    instant = since
    while instant <= until:
        world.advance(instant)
        instants.append(instant)
        for target, ledger in ledgers.items():
            columns[target].append(list(ledger.values))
        instant += scrape.INTERVAL
    stamps = [f" {stamp:.3f}\n" for stamp in instants]
    file.writelines(_families(ledgers, columns, stamps))
    file.writelines(_up(ledgers, stamps))
    file.write("# EOF\n")
    return len(stamps) * sum(len(ledger.values) + 1 for ledger in ledgers.values())


def _families(
    ledgers: dict[ScrapeTarget, MetricStore], columns: dict[ScrapeTarget, list[list[float]]], stamps: list[str]
) -> Iterator[str]:
    """One block per family, even when both pages have it."""
    blocks: dict[str, list[str]] = {}
    for target, ledger in ledgers.items():
        for family, children in ledger.families.items():
            block = blocks.setdefault(family.title, [f"# TYPE {family.title} {family.kind}\n"])
            for child in children:
                block.extend(_lines(child, target, columns[target], stamps))
    for block in blocks.values():
        yield from block


def _lines(
    child: list[StoredSeries], target: ScrapeTarget, rows: list[list[float]], stamps: list[str]
) -> Iterator[str]:
    """All samples of a child at one time stand together, as the format demands."""
    heads = [(f"{name}{_labels(labels, target)} ", at) for name, labels, at in child]
    for row, stamp in zip(rows, stamps, strict=True):
        for head, at in heads:
            yield f"{head}{row[at]!r}{stamp}"


def _up(ledgers: dict[ScrapeTarget, MetricStore], stamps: list[str]) -> Iterator[str]:
    """What Prometheus itself notes about a scrape that worked."""
    yield "# TYPE up gauge\n"
    for target in ledgers:
        head = f"up{_labels({}, target)} 1"
        yield from (f"{head}{stamp}" for stamp in stamps)


def _labels(own: dict[str, str], target: ScrapeTarget) -> str:
    pairs = {**own, "job": target.job, **target.labels}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
