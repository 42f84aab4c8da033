"""`make bench`: cold and warm answers against the old way, the engine itself and bare FastAPI."""

import asyncio
import tempfile
from pathlib import Path
from statistics import median

import httpx
from gatewayz_demo import processes
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.build import Slots, batch
from rich.console import Console
from rich.table import Table

from tests.bench.demo_data import write_demo_data
from tests.bench.load import Call, paired, throughput
from tests.bench.old_module import OldModule
from tests.bench.servers import serving

SERVICE = "gatewayz_metrics.main:app"
SUMMARY = "/prometheus/metrics/summary"
ROUNDS = 9


async def measure(engine: str, cold: str, warm: str, reference: str) -> Table:
    """The figures of one engine as a table."""
    table = Table("What", "Ours", "Against", "", "Ratio")
    old = OldModule(engine)
    statistics, slots = load().statistics, Slots()
    one_batch = batch((statistic.name, slots.fill(statistic.expr)) for statistic in statistics)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        summary: dict[str, Call] = {
            "ours": lambda: client.get(f"{cold}{SUMMARY}"),
            "the old module's way": old.summary,
            "the engine's own single join": lambda: client.post(f"{engine}/api/v1/query", data={"query": one_batch}),
        }
        _rows(table, "/summary, cold", await paired(summary, ROUNDS))
        everything: dict[str, Call] = {
            "ours": lambda: client.get(f"{cold}/prometheus/metrics/all"),
            "the old module's way": old.all,
            "the engine's /federate": lambda: client.get(f"{engine}/federate", params={"match[]": '{job="gateway"}'}),
        }
        _rows(table, "/all, cold", await paired(everything, ROUNDS))
    for path in (SUMMARY, "/prometheus/metrics/system"):
        ours, theirs = await _alternated(f"{warm}{path}", f"{reference}/bytes")
        row = (f"{ours:,.0f}/s", "FastAPI, prebuilt 0.8 kB", f"{theirs:,.0f}/s", f"{ours / theirs:.2f}")
        table.add_row(f"{path.rpartition('/')[1]}{path.rpartition('/')[2]}, warm, 50 callers", *row)
    return table


def _rows(table: Table, what: str, times: dict[str, float]) -> None:
    ours = times.pop("ours")
    for name, milliseconds in times.items():
        table.add_row(what, f"{ours:.1f} ms", name, f"{milliseconds:.1f} ms", f"{milliseconds / ours:.1f}x")


async def _alternated(ours: str, theirs: str) -> tuple[float, float]:
    rounds = [(await throughput(ours), await throughput(theirs)) for _ in range(3)]
    return median(a for a, _ in rounds), median(b for _, b in rounds)


def main() -> None:
    """Measure two sizes of deployment."""
    for name, size in {"small": 1, "medium": 12}.items():
        with tempfile.TemporaryDirectory() as folder:
            series = write_demo_data(Path(folder, "demo.om"), size)
            processes.backfill(Path(folder, "demo.om"), Path(folder, "tsdb"))
            with (
                processes.start_prometheus(Path(folder, "tsdb")) as engine,
                serving(SERVICE, "/livez", PROMETHEUS_URL=engine.url, CACHE_TTL="0") as cold,
                serving(SERVICE, "/livez", PROMETHEUS_URL=engine.url) as warm,
                serving("tests.bench.servers:prebuilt", "/bytes") as reference,
            ):
                table = asyncio.run(measure(engine.url, cold, warm, reference))
        table.title = f"{name}: {series:,} series"
        Console(width=120).print(table)


main()
