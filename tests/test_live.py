"""A living Prometheus: one that scrapes us, one that dies and comes back under load."""

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Response
from gatewayz_demo import processes
from gatewayz_metrics import Settings, create_app

from tests.support.engine import Engine
from tests.support.server import address, listening, running
from tests.support.waiting import wait_until

EXPORTED = """
# TYPE fastapi_requests_total counter
fastapi_requests_total{path="/a",status_code="200"} 1000
fastapi_requests_total{path="/b",status_code="500"} 17
# TYPE fastapi_requests_in_progress gauge
fastapi_requests_in_progress{path="/a"} 3
# TYPE tokens_used_total counter
tokens_used_total{model="m",provider="p",token_type="input"} 12345
# TYPE provider_availability gauge
provider_availability{provider="p"} 1
"""
SOURCE = 'fastapi_requests_total{aggregated_by=""}'
MARKED = 'fastapi_requests_total{aggregated_by="gatewayz-metrics"}'


def gateway() -> FastAPI:
    app = FastAPI()

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(EXPORTED, media_type="text/plain")

    return app


def test_being_scraped_by_the_prometheus_we_ask_changes_no_number(tmp_path: Path) -> None:
    exporter, ours = listening(), listening()
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [
            {"job_name": "gateway", "static_configs": [{"targets": [address(exporter)]}]},
            {
                "job_name": "all",
                "honor_labels": True,
                "metrics_path": "/prometheus/metrics/all",
                "static_configs": [{"targets": [address(ours)]}],
            },
        ],
    }
    with running(gateway(), exporter), processes.start_prometheus(tmp_path, json.dumps(config)) as process:
        engine = Engine("prometheus", process.url)
        with running(create_app(Settings(prometheus_url=process.url, cache_ttl=0)), ours) as url:
            wait_until(lambda: _rounds(engine, SOURCE) >= 3)
            before = _stable(url)
            wait_until(lambda: _rounds(engine, MARKED) >= _rounds(engine, SOURCE) - 2 >= 8)

            assert _stable(url) == before
            # The trap is real: who does not look at the marker counts everything twice.
            assert engine.value("sum(fastapi_requests_total)", time.time()) == "2034"


def _rounds(engine: Engine, selector: str) -> int:
    return int(engine.value(f"max(count_over_time({selector}[1m]))", time.time()) or 0)


def _stable(url: str) -> dict[str, Any]:
    """What must not change while counters stand still."""
    with httpx.Client(base_url=f"{url}/prometheus/metrics", trust_env=False) as client:
        summary = client.get("/summary").json()["metrics"]
        lines = client.get("/all").text.splitlines()
    assert summary["http"]["total_requests"] == "1017"
    assert summary["models"]["tokens_used_total"] == "12345"
    return {"summary": summary, "all": sorted(lines)}


def test_an_upstream_that_dies_and_returns_under_load_is_never_our_error(tmp_path: Path) -> None:
    with processes.start_prometheus(tmp_path) as process:
        settings = Settings(prometheus_url=process.url, cache_ttl=0.1)
        with running(create_app(settings), listening()) as url, _Load(url) as load:
            wait_until(lambda: load.seen["ok"] > 20)
            process.kill()
            killed = load.total
            wait_until(lambda: load.seen["down"] > 20)
            process.restart()
            load.seen.clear()
            wait_until(lambda: load.seen["ok"] > 20)

    assert killed < load.total
    assert "partial" not in load.seen  # it comes back whole: no page mixes values with the end of the pause
    assert load.statuses.keys() == {200}
    assert "cannot be reached" in load.sentence


class _Load:
    """Four callers that never rest."""

    ROUTES = ("summary", "all", "system", "models")

    def __init__(self, url: str) -> None:
        self.statuses: Counter[int] = Counter()
        self.seen: Counter[str] = Counter()
        self.sentence = ""
        self._url = f"{url}/prometheus/metrics"
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(route,)) for route in self.ROUTES]

    @property
    def total(self) -> int:
        return self.statuses.total()

    def __enter__(self) -> "_Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, route: str) -> None:
        with httpx.Client(base_url=self._url, trust_env=False) as client:
            while not self._over.is_set():
                response = client.get(f"/{route}")
                self.statuses[response.status_code] += 1
                self.seen[response.headers.get("x-upstream-status", "none")] += 1
                if route == "summary" and "error" in response.json():
                    self.sentence = response.json()["error"]
                time.sleep(0.01)
