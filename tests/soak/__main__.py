"""`make soak`: ten minutes, five hundred clients, and an upstream that freezes, dies and comes back."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

from gatewayz_demo import processes
from gatewayz_demo.processes import EngineProcess
from rich.console import Console
from rich.table import Table

from tests.soak.clients import Crowd
from tests.soak.trouble import make_trouble
from tests.soak.truth import SELECTOR, Truth, write_samples
from tests.soak.watch import ProcessWatch
from tests.support.command import running

_MEGABYTE = 2**20
# How much the last fifth of the campaign may have above the second: allocators keep some of what they had.
_GROWTH = 1.25


def main() -> int:
    """Run the campaign and print its table; 1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=500)
    options = parser.parse_args()
    seconds = int(options.minutes * 60)
    begin = int(time.time()) // 15 * 15 - 3600
    with tempfile.TemporaryDirectory() as folder:
        found = write_samples(Path(folder), begin, 3600 + seconds + 900)
        processes.backfill(found, Path(folder, "tsdb"))
        with processes.start_prometheus(Path(folder, "tsdb")) as engine:
            settled = begin + 1800
            truth = Truth.of(engine.url, begin, begin + 3600 + seconds + 600, settled)
            with running("serve", PROMETHEUS_URL=engine.url, SELECTOR=SELECTOR) as (process, url):
                port = urlsplit(url).port
                assert port is not None
                watch = ProcessWatch(process.pid)
                crowd = Crowd(port, truth)
                happened = asyncio.run(_campaign(crowd, watch, engine, options.clients, seconds))
                idle = watch.look()
                return _report(crowd, watch, happened, idle.descriptors, seconds)


async def _campaign(
    crowd: Crowd, watch: ProcessWatch, engine: EngineProcess, clients: int, seconds: int
) -> Counter[str]:
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.run(clients))
        group.create_task(watch.run(crowd.stop))
        trouble = group.create_task(make_trouble(engine, crowd.stop))
        await asyncio.sleep(seconds)
        crowd.stop.set()
    # Connections that nobody ended are closed by then.
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(25)
    return trouble.result()


def _report(crowd: Crowd, watch: ProcessWatch, happened: Counter[str], idle_descriptors: int, seconds: int) -> int:
    tally = crowd.tally
    memory, descriptors = watch.fifths("bytes"), watch.fifths("descriptors")
    server_errors = sum(count for (_, status), count in tally.refused_routes.items() if status >= 500)
    verdicts = {
        "wrong answers": (str(len(tally.wrong)), not tally.wrong),
        "answers of the eight routes that are no 200": (
            str(dict(tally.refused_routes) or 0),
            not server_errors and not tally.refused_routes,
        ),
        "/livez not 200": (str(tally.failed_probes), not tally.failed_probes),
        "memory by fifths, MB": (_fifths(memory, _MEGABYTE), memory[-1] <= memory[1] * _GROWTH),
        "descriptors by fifths": (_fifths(descriptors, 1), descriptors[-1] <= descriptors[1] * _GROWTH + 20),
    }
    table = Table("What", "Seen", "", title=f"{seconds} s, upstream {dict(happened)}")
    for what, (seen, good) in verdicts.items():
        table.add_row(what, seen, "good" if good else "WRONG")
    for (kind, status), count in sorted(tally.answers.items()):
        table.add_row(f"{kind}, {status or 'no answer'}", f"{count:,}", "")
    cuts = quantiles(tally.probes, n=100)
    table.add_row(
        "/livez p50, p99, most, ms",
        " ".join(f"{1000 * each:.0f}" for each in (cuts[49], cuts[98], max(tally.probes))),
        "",
    )
    table.add_row("range answers with a warning", f"{tally.partial:,}", "")
    table.add_row("summaries that told of an outage", f"{tally.outages_told:,}", "")
    table.add_row("peak memory, MB", f"{watch.peak('bytes') / _MEGABYTE:.0f}", "")
    table.add_row("descriptors at the end, idle", str(idle_descriptors), "")
    table.add_row("processor seconds of the service", f"{watch.processor_seconds():.0f}", "")
    Console(width=140).print(table)
    for line in tally.wrong[:20]:
        Console(width=200).print(f"wrong: {line}", markup=False)
    return 0 if all(good for _, good in verdicts.values()) else 1


def _fifths(values: list[float], unit: int) -> str:
    return " ".join(f"{value / unit:.0f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
