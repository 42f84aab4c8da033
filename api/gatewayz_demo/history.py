"""The samples that Prometheus would have scraped so far, as OpenMetrics text with timestamps.

The text is made for `promtool tsdb create-blocks-from openmetrics`. The format:
https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

from collections.abc import Iterator
from typing import TextIO

from gatewayz_demo import scrape
from gatewayz_demo.metric_store import ExportedFamily, MetricStore, StoredSeries
from gatewayz_demo.scrape import ScrapeTarget
from gatewayz_demo.simulator import Simulator


def write_history(
    file: TextIO,
    simulator: Simulator,
    *,
    since: float,
    until: float,
    interval: float = scrape.INTERVAL,
    is_sparing: bool = False,
) -> int:
    """Writes every scrape between two times (Unix seconds) and returns the number of samples.

    Advances the simulator to the last of them. `interval` is in seconds. A sparing history has no histograms, which are
    four series of five, and no times of creation.
    """
    times: list[float] = []
    stores = simulator.stores
    rows: dict[ScrapeTarget, list[tuple[float, ...]]] = {target: [] for target in stores}
    time = since
    while time <= until:
        simulator.advance(time)
        times.append(time)
        for target, store in stores.items():
            rows[target].append(tuple(store.values))
        time += interval
    timestamps = [f" {time:.3f}\n" for time in times]
    # Written at the end: the format wants a family in one block, not a scrape.
    count = 0
    for size, text in _format_families(stores, rows, timestamps, is_sparing=is_sparing):
        file.write(text)
        count += size
    file.writelines(_format_up(stores, timestamps))
    file.write("# EOF\n")
    return count + len(stores) * len(times)


def _format_families(
    stores: dict[ScrapeTarget, MetricStore],
    rows: dict[ScrapeTarget, list[tuple[float, ...]]],
    timestamps: list[str],
    *,
    is_sparing: bool,
) -> Iterator[tuple[int, str]]:
    """Text and its number of samples, one block per family, as the format demands, even when both pages export it."""
    blocks: dict[str, list[tuple[ScrapeTarget, ExportedFamily]]] = {}
    for target, store in stores.items():
        for family in store.families:
            if not (is_sparing and family.kind == "histogram"):
                blocks.setdefault(family.title, []).append((target, family))
    for title, exported in blocks.items():
        yield 0, f"# TYPE {title} {exported[0][1].kind}\n"
        for target, family in exported:
            for child in stores[target].families[family]:
                series = [each for each in child if not (is_sparing and each.is_creation)]
                yield from _format_child(series, target, rows[target], timestamps)


def _format_child(
    child: list[StoredSeries], target: ScrapeTarget, rows: list[tuple[float, ...]], timestamps: list[str]
) -> Iterator[tuple[int, str]]:
    """The samples of one child by time: the format wants all samples of a point in time together."""
    # One formatting per scrape instead of one per sample. Labels are escaped: every line feed ends a line.
    template = "".join(
        f"{name}{_format_labels(labels, target)} ".replace("%", "%%") + "%r\n" for name, labels, _ in child
    )
    start, end = child[0].position, child[-1].position + 1
    for row, timestamp in zip(rows, timestamps, strict=True):
        # A child that came later than the scrape is not in it.
        if end <= len(row):
            yield len(child), (template % row[start:end]).replace("\n", timestamp)


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
