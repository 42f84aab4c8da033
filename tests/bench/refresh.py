"""A dashboard that refreshes: 20 panels, six hours at 15 s, every 15 s, three viewers; with the cache and without.

Time is simulated, so minutes of watching take seconds: each round moves every range on by one step, and the
samples of all rounds are in the engine from the start. The service's clock stays where it is, so what
counts as too new to keep grows by a step a round: the cache looks a little worse than it is. The viewers
come one after the other, so that none of them joins another's call.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
from gatewayz_demo import processes
from rich.console import Console
from rich.table import Table

from tests.bench.demo_data import copied
from tests.bench.servers import serving
from tests.support.samples import STEP, deployments

HOURS = 6
ROUNDS = 10
COPIES = 6
VIEWERS = 3
RANGE = "/api/v1/query_range"

_BY = {
    "fastapi_requests_total": "status_code",
    "model_inference_requests_total": "model",
    "tokens_used_total": "provider",
    "database_queries_total": "table",
    "cache_hits_total": "cache_name",
}
_HISTOGRAMS = (
    "fastapi_requests_duration_seconds",
    "model_inference_duration_seconds",
    "provider_response_time_seconds",
)


def panels() -> list[str]:
    """Twenty panels as dashboards have them."""
    found = [f"sum by ({label}) (rate({name}[5m]))" for name, label in _BY.items()]
    found += [f"sum(rate({name}[5m]))" for name in _BY]
    found += [f"histogram_quantile({q}, sum by (le) (rate({n}_bucket[5m])))" for n in _HISTOGRAMS for q in (0.5, 0.95)]
    found += [f"sum by (instance) (rate({name}_count[5m]))" for name in _HISTOGRAMS]
    return [*found, "avg by (provider) (provider_error_rate)"]


@dataclass(frozen=True)
class Watched:
    """What one round of refreshes took."""

    milliseconds: float
    upstream_milliseconds: float
    points: float


async def watch(client: httpx.AsyncClient, engine: str, service: str, last: int) -> list[Watched]:
    """Every viewer's every panel, round after round; the first round fills the cache."""
    found: list[Watched] = []
    for number in range(ROUNDS + 1):
        end = last + STEP * number
        before, begun = await _counted(client, engine, service), time.perf_counter()
        for _ in range(VIEWERS):
            await asyncio.gather(*(_view(client, service, query, end) for query in panels()))
        took = 1000 * (time.perf_counter() - begun)
        after = await _counted(client, engine, service)
        found.append(Watched(took, 1000 * (after[0] - before[0]), after[1] - before[1]))
    return found


async def _view(client: httpx.AsyncClient, service: str, query: str, end: int) -> None:
    form = {"query": query, "start": str(end - 3600 * HOURS), "end": str(end), "step": str(STEP)}
    answer = await client.post(f"{service}{RANGE}", data=form)
    answer.raise_for_status()


async def _counted(client: httpx.AsyncClient, engine: str, service: str) -> tuple[float, float]:
    """Seconds that the engine spent on ranges, as it says itself, and points that the service asked it for."""
    seconds = 'prometheus_http_request_duration_seconds_sum{handler="/api/v1/query_range"}'
    points = 'gatewayz_metrics_range_points_total{source="fetched"}'
    return await _sample(client, engine, seconds), await _sample(client, service, points)


async def _sample(client: httpx.AsyncClient, url: str, series: str) -> float:
    page = (await client.get(f"{url}/metrics")).text
    found = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(series)]
    return float(found[0]) if found else 0.0


@contextmanager
def history(folder: Path) -> Iterator[tuple[str, int]]:
    """An engine with samples up to now, and the second at which the first round ends."""
    now = int(time.time()) // STEP * STEP
    begin, end = now - 3600 * HOURS - 450, now + STEP * ROUNDS
    production = [one for one in deployments() if one.labels["env"] == "production"]
    copies = [copied(one, number) for one in production for number in range(COPIES)]
    series = {(one.name, *sorted(one.labels.items())): one for one in copies}
    with (folder / "demo.om").open("w", encoding="utf-8") as file:
        for one in sorted(series.values(), key=lambda one: one.name):
            labels = ",".join(f'{name}="{value}"' for name, value in one.labels.items())
            head = f"{one.name}{{{labels}}}"
            file.writelines(f"{head} {one.curve(at - begin)!r} {at}\n" for at in range(begin, end + 1, STEP))
        file.write("# EOF\n")
    processes.backfill(folder / "demo.om", folder / "tsdb")
    with processes.start_prometheus(folder / "tsdb") as engine:
        yield engine.url, now


async def measure(engine: str, service: str, plain: str, last: int) -> Table:
    """Both ways over the same rounds."""
    table = Table("20 panels, 6 h at 15 s, 3 viewers", "Cache off", "Cache on", "Ratio")
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        ours = await watch(client, engine, service, last)
        without = await watch(client, engine, plain, last)
    for name, field in {
        "a refresh, all viewers, ms": "milliseconds",
        "in the engine, by its own count, ms": "upstream_milliseconds",
        "points per series asked for": "points",
    }.items():
        off, on = (median(getattr(one, field) for one in rounds[1:]) for rounds in (without, ours))
        table.add_row(name, f"{off:,.0f}", f"{on:,.0f}", f"{off / on:,.1f}x")
    table.add_row("first view, ms", f"{without[0].milliseconds:,.0f}", f"{ours[0].milliseconds:,.0f}", "")
    return table


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, history(Path(name)) as (url, last):
        settings = {"PROMETHEUS_URL": url, "PROMETHEUS_TIMEOUT": "60"}
        with (
            serving("gatewayz_metrics.main:app", "/livez", **settings) as service,
            serving("gatewayz_metrics.main:app", "/livez", CACHE_RANGE="off", **settings) as plain,
        ):
            table = asyncio.run(measure(url, service, plain, last))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
