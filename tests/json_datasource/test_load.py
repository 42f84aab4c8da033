"""Many series, and many users: nobody waits for the others' panels, and nobody's question is asked twice."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from gatewayz_metrics import Settings, create_app

from tests.json_datasource import recorded_data
from tests.json_datasource.asking import question
from tests.support.engine import Engine
from tests.support.server import address, listening

POINTS = 1000
STEP_MS = 15_000
LAST_MS = (recorded_data.END - STEP_MS // 1000) * 1000
WIDE = {
    "range": {"from": LAST_MS - (POINTS - 1) * STEP_MS, "to": LAST_MS},
    "intervalMs": STEP_MS,
    "targets": [{"refId": "A", "target": "wide"}],
}


@contextmanager
def served(engine: Engine, folder: Path, **environment: str) -> Iterator[str]:
    """The service in a process of its own, as it runs in production."""
    with listening() as found:
        port = address(found).partition(":")[2]
    command = [sys.executable, "-m", "uvicorn", "gatewayz_metrics.main:app", "--port", port, "--log-level", "warning"]
    settings = {"PROMETHEUS_URL": engine.url, **environment}
    process = subprocess.Popen(command, env=os.environ | settings, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(trust_env=False) as client:
            for _ in range(200):
                try:
                    client.get(f"{url}/livez")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


@contextmanager
def probing(url: str) -> Iterator[list[float]]:
    """How long each of many `/livez` probes waits, until the block ends."""
    waits: list[float] = []
    done = threading.Event()

    def probe() -> None:
        with httpx.Client(trust_env=False) as client:
            while not done.is_set():
                begun = time.perf_counter()
                client.get(f"{url}/livez").raise_for_status()
                waits.append(time.perf_counter() - begun)
                time.sleep(0.005)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()


def longest_wait(engine: Engine, folder: Path, cache: str, shape: str) -> float:
    """How long a probe waits at most while a fresh service answers for a large panel twice."""
    target = {"refId": "A", "target": "wide", "payload": {"format": shape}}
    with (
        served(engine, folder, CACHE_RANGE=cache) as url,
        httpx.Client(trust_env=False, timeout=30) as client,
        probing(url) as waits,
    ):
        answers = [client.post(f"{url}/query", json=WIDE | {"targets": [target]}) for _ in range(2)]

    for found in answers:
        elements = found.json()
        assert len(elements) == recorded_data.WIDE
        points = [len(e["datapoints"] if shape == "time_series" else e["data"]["values"][1]) for e in elements]
        assert set(points) == {POINTS}
    assert len(waits) > 20
    return max(waits)


@pytest.mark.parametrize("shape", ["time_series", "frame"])
@pytest.mark.parametrize("cache", ["on", "off"])
def test_a_probe_never_waits_for_a_large_panel(recorded_engine: Engine, tmp_path: Path, cache: str, shape: str) -> None:
    # Whatever else runs on the machine can only make a wait longer, so the quietest of three rounds is our own.
    waits: list[float] = []
    while len(waits) < 3 and min(waits, default=1.0) >= 0.25:
        waits.append(longest_wait(recorded_engine, tmp_path, cache, shape))

    assert min(waits) < 0.25, waits


def upstream_requests(page: str, kind: str) -> float:
    found = re.search(
        rf'^gatewayz_metrics_upstream_requests_total{{endpoint="{kind}",outcome="ok"}} (\S+)$', page, re.M
    )
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(("payload", "kind"), [({}, "query_range"), ({"instant": "true"}, "query")])
def test_two_users_with_one_panel_are_one_question(recorded_engine: Engine, payload: dict[str, str], kind: str) -> None:
    body = question([{"refId": "A", "target": "sum by (job) (rate(wide[5m]))", "payload": payload}])
    app = create_app(Settings(prometheus_url=recorded_engine.url, cache_range=False, cache_ttl=0))

    async def ask() -> tuple[list[httpx.Response], str]:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                found = await asyncio.gather(*(client.post("/query", json=body) for _ in range(20)))
                return found, (await client.get("/metrics")).text

    answers, page = asyncio.run(ask())

    assert len({found.content for found in answers}) == 1
    assert answers[0].json()[0]["tags"] == {"job": "wide"}
    assert upstream_requests(page, kind) == 1


def test_two_users_with_different_filters_keep_their_own_answers(recorded_engine: Engine) -> None:
    app = create_app(Settings(prometheus_url=recorded_engine.url))

    def asked(job: str) -> dict[str, object]:
        filters = [{"key": "job", "operator": "=", "value": job}]
        return question([{"refId": job, "target": "up"}], filters=filters)

    async def ask() -> list[httpx.Response]:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await asyncio.gather(*(client.post("/query", json=asked(job)) for job in ("api", "web") * 5))

    for number, found in enumerate(asyncio.run(ask())):
        job = ("api", "web")[number % 2]
        assert {(element["refId"], element["tags"]["job"]) for element in found.json()} == {(job, job)}
        assert len(found.json()) == {"api": 3, "web": 2}[job]
