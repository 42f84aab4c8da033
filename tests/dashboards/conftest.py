"""The service over a Prometheus that has the simulated gateway and scrapes the service itself.

Over an hour of history in either shape, and at night over all that `make run` shows once its older history is there.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from gatewayz_demo import engines, history, processes
from gatewayz_demo.run import Demo, embedded_upstream
from gatewayz_demo.scrape import OwnPage
from gatewayz_demo.simulator import Simulator
from gatewayz_metrics import Settings, create_app

from tests.dashboards.catalogues import SHOP
from tests.support import samples
from tests.support.samples import Series, flat, histogram, steady
from tests.support.server import address, listening, running

HISTORY = 3600.0
SCRAPES = 4


@dataclass(frozen=True)
class Stage:
    """A service to ask, and the moment at which it has data of everything."""

    client: httpx.Client
    now: float
    # The engine itself.
    engine: str = ""
    # Whether the simulated gateway writes what the specification names and the real one does not.
    spec_families: bool = False
    # Whether there is history for the ranges that boards open with; else there is an hour.
    has_ranges: bool = False


@pytest.fixture(scope="session", params=["real", "specified", pytest.param("demo", marks=pytest.mark.nightly)])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("dashboards")
    if request.param == "demo":
        yield from _demo(folder)
    else:
        yield from _hour(folder, spec_families=request.param == "specified")


def _demo(folder: Path) -> Iterator[Stage]:
    """What `make run` starts, used for a while and with the whole of its history."""
    ours, whole = listening(), Event()
    named = {f"{name.upper()}_BIN": str(engines.find_engine(name).path) for name in ("prometheus", "promtool")}
    environ = {**os.environ, **named, "XDG_CACHE_HOME": str(folder)}
    demo = Demo(environ=environ, own=OwnPage(address(ours)), on_history=whole.set, niceness=0)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(embedded_upstream(demo)) as upstream,
        running(create_app(Settings(prometheus_url=upstream)), ours) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        while not whole.wait(1):
            _use(client)
        _scraped(client)
        client.post("/-/purge")
        yield Stage(client, time.time(), upstream, has_ranges=True)


def _hour(data: Path, *, spec_families: bool) -> Iterator[Stage]:
    ours = listening()
    _write_history(data, spec_families=spec_families)
    with processes.start_prometheus(data / "tsdb", _config(address(ours))) as engine:
        app = create_app(Settings(prometheus_url=engine.url, cache_ttl=0))
        with running(app, ours) as url, httpx.Client(base_url=url, trust_env=False) as client:
            _scraped(client)
            yield Stage(client, time.time(), engine.url, spec_families=spec_families)


def _write_history(data: Path, *, spec_families: bool) -> None:
    now = time.time()
    text = data / "history.om"
    with text.open("w", encoding="utf-8") as file:
        simulator = Simulator(epoch=now - HISTORY, spec_families=spec_families)
        history.write_history(file, simulator, since=now - HISTORY, until=now)
    processes.backfill(text, data / "tsdb")


def _config(service: str) -> str:
    job = {"job_name": "gatewayz-metrics", "static_configs": [{"targets": [service]}]}
    quick = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    return json.dumps({"global": quick, "scrape_configs": [job]})


def _scraped(client: httpx.Client) -> None:
    """Until Prometheus has seen the service often enough for a rate; it looks for targets every five seconds."""
    deadline = time.monotonic() + 30
    query = f"count_over_time(gatewayz_metrics_upstream_up[1m]) >= {SCRAPES}"
    while not client.post("/api/v1/query", data={"query": query}).json()["data"]["result"]:
        assert time.monotonic() < deadline, "Prometheus did not scrape the service"
        _use(client)
        time.sleep(0.5)


def _use(client: httpx.Client) -> None:
    """Some of everything that the service counts."""
    now = time.time()
    span = {"query": "up", "start": now - 600, "end": now, "step": 15}
    client.get("/prometheus/metrics/summary")
    client.post("/api/v1/query_range", data=span)
    client.post("/api/v1/query", data={"query": "up"})


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The service with a catalogue of another system, over a Prometheus that has an hour of that system."""
    data = tmp_path_factory.mktemp("shop")
    now = round(time.time())
    text = samples.openmetrics(data / "shop.om", start=now - 3600, found=_of_shops())
    processes.backfill(text, data / "tsdb")
    with processes.start_prometheus(data / "tsdb") as engine:
        settings = Settings(prometheus_url=engine.url, catalogue=SHOP, selector='site="north"', cache_ttl=0)
        with running(create_app(settings), listening()) as url, httpx.Client(base_url=url, trust_env=False) as client:
            yield Stage(client, now)


def _of_shops() -> Iterator[Series]:
    for site in ("north", "south"):
        base = {"job": "shop", "instance": f"{site}:80", "site": site}
        yield Series("till_refunds_total", base, steady(0.1))
        yield Series("deliveries_total", base, steady(0.01))
        for till in ("1", "2"):
            labels = base | {"till": till}
            yield Series("till_temperature_celsius", labels, flat(21.5))
            yield Series("till_queue_length", labels, flat(3))
            yield Series("till_sales_total", labels | {"payment": "card"}, steady(2))
            yield Series("till_sales_total", labels | {"payment": "cash"}, steady(1))
            yield Series("till_scan_seconds_sum", labels, steady(0.5))
            yield Series("till_scan_seconds_count", labels, steady(0.25))
            yield from histogram("till_wait_seconds", labels, {"10.0": 3, "60.0": 9, "+Inf": 10}, 25, 1)
        for room in ("cellar", "loft"):
            labels = base | {"room": room}
            yield Series("room_goods", labels, flat(140))
            yield Series("room_goods_total", labels, steady(0.5))
            yield Series("moves_in_total", labels, steady(0.5))
            yield Series("moves_out_total", labels, steady(0.4))
