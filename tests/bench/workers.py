"""Warm summaries from one process and from several: requests and processor seconds, the load on the same cores.

`python -m tests.bench.workers` asks both in turns. The clients are Python, too, and take a core for themselves.
"""

import argparse
import asyncio
import os
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import httpx
from rich.console import Console
from rich.table import Table

from tests.bench.load import throughput
from tests.server.service import ServiceProcess, children, served
from tests.support.fake_upstream import FakeUpstream, healthy

SUMMARY = "/prometheus/metrics/summary"
_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(service: ServiceProcess) -> float:
    """What the service and its workers have used so far."""
    found = 0.0
    for pid in (service.process.pid, *children(service.process.pid)):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def measure(service: ServiceProcess, seconds: float) -> tuple[float, float]:
    """Answers a second, and processor milliseconds for a thousand of them."""
    before = processor_seconds(service)
    rate = asyncio.run(throughput(f"{service.url}{SUMMARY}", 50, seconds))
    return rate, (processor_seconds(service) - before) * 1e6 / (rate * seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    with ExitStack() as stack:
        upstream = stack.enter_context(FakeUpstream(healthy))
        services = {
            count: stack.enter_context(served(upstream.url, workers=count, cache_ttl=3600, max_requests_per_address=0))
            for count in options.workers
        }
        for count, service in services.items():
            # Every worker has the summary before anything is measured.
            for _ in range(20 * count):
                httpx.get(f"{service.url}{SUMMARY}", trust_env=False).raise_for_status()
        rounds = [
            {count: measure(service, options.seconds) for count, service in services.items()}
            for _ in range(options.rounds)
        ]
    table = Table("Workers", "Summaries a second", "CPU ms for a thousand", title="warm, 50 connections")
    for count in options.workers:
        rates, costs = zip(*(each[count] for each in rounds), strict=True)
        table.add_row(str(count), f"{median(rates):,.0f}", f"{median(costs):,.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
