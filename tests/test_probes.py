"""Probes: answered at once from what is known, and nothing told to strangers that concerns callers alone."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, setup_prometheus_routes
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream import health
from gatewayz_metrics.upstream.client import PROBE, UpstreamClient

from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.fake_upstream import Exchange, FakeUpstream, answering
from tests.support.waiting import reach, wait_until

TOKEN = "the-token"
SHOWN = {"X-API-Key": TOKEN}


def ready(client: TestClient, **headers: str) -> dict[str, str]:
    answer = client.get("/readyz", headers=headers)
    assert answer.status_code == 200
    found: dict[str, str] = answer.json()
    return found


def own(client: TestClient) -> str:
    return client.get("/metrics", headers=SHOWN).text


# --------------------------------------------------------------------------- time


class Frozen:
    """An upstream that answers nothing until it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_over = False

    def __call__(self, exchange: Exchange) -> None:
        self.asked += 1
        while not self.is_over and exchange.wait(0.01):
            pass
        fakes.healthy(exchange)


def test_probes_do_not_wait_for_an_upstream_that_hangs() -> None:
    """H8: the answer is there while the question to the upstream is still under way, not after its deadline."""
    frozen = Frozen()
    with FakeUpstream(frozen) as fake, serving(fake.url) as client:
        for _ in range(3):
            assert ready(client) == {"status": "degraded", "code": "not_yet_known"}
            assert client.get("/livez").json() == {"status": "ok"}
        # All three came before our own question had an answer or was given up.
        assert 'endpoint="probe"' not in own(client)
        frozen.is_over = True
        wait_until(lambda: ready(client) == {"status": "ok"})


def test_many_probes_are_one_question() -> None:
    frozen = Frozen()
    with FakeUpstream(frozen) as fake, serving(fake.url) as client:
        for _ in range(10):
            ready(client)
        asked = frozen.asked
        frozen.is_over = True

    assert asked == 1


def test_a_state_that_is_known_costs_no_question() -> None:
    with FakeUpstream(fakes.healthy) as fake, serving(fake.url) as client:
        wait_until(lambda: ready(client) == {"status": "ok"})
        before = len(fake.requests)
        for _ in range(10):
            assert ready(client) == {"status": "ok"}

        assert len(fake.requests) == before


# --------------------------------------------------------------------------- words

SECRETS = ("127.0.0.1", "localhost", "/run/secret", "nowhere.invalid")
FAULTS: dict[str, dict[str, Any]] = {
    "unreachable": {"url": "http://127.0.0.1:9"},
    "misconfigured": {"url": "http://127.0.0.1:9", "prometheus_bearer_token_file": Path("/run/secret/token")},
}


@pytest.mark.parametrize("code", FAULTS)
def test_strangers_are_told_neither_hosts_nor_paths(code: str) -> None:
    """H8: details only for a caller who shows a token; without tokens there is the code alone."""
    with serving(**FAULTS[code], api_tokens=(TOKEN,)) as client:
        wait_until(lambda: ready(client, **SHOWN).get("code") == code)
        strange, wrong, known = ready(client), ready(client, Authorization="Bearer x"), ready(client, **SHOWN)
    with serving(**FAULTS[code]) as client:
        wait_until(lambda: ready(client).get("code") == code)
        everybody = ready(client)

    assert strange == wrong == {"status": "degraded"}
    assert everybody == {"status": "degraded", "code": code}
    assert known["code"] == code
    assert any(secret in known["reason"] for secret in SECRETS)


# --------------------------------------------------------------------------- state


def test_readiness_and_the_metric_follow_the_breaker() -> None:
    """An outage that only our own questions see opens the circuit; its end closes it."""
    down = True

    def flapping(exchange: Exchange) -> None:
        (answering(b"", "500 Internal Server Error") if down else fakes.healthy)(exchange)

    with FakeUpstream(flapping) as fake, serving(fake.url, api_tokens=(TOKEN,)) as client:
        wait_until(lambda: ready(client)["status"] == "degraded" and "suspended" in summary_error(client))
        assert "gatewayz_metrics_upstream_up 0.0" in own(client)
        down = False
        wait_until(lambda: ready(client) == {"status": "ok"})
        assert "gatewayz_metrics_upstream_up 1.0" in own(client)


def summary_error(client: TestClient) -> str:
    """What a query is told; asking less often than probes do."""
    client.get("/readyz")
    code: str = client.get("/api/v1/query?query=up", headers=SHOWN).text
    return "suspended" if "next attempt" in code else ""


def test_a_slow_query_of_a_caller_does_not_make_it_unready() -> None:
    def slow_for_some(exchange: Exchange) -> None:
        if exchange.request.query == "slow":
            exchange.wait(0.5)
        fakes.healthy(exchange)

    with FakeUpstream(slow_for_some) as fake, serving(fake.url) as client:
        wait_until(lambda: ready(client) == {"status": "ok"})
        client.get("/api/v1/query?query=slow&timeout=1ms")

        assert ready(client) == {"status": "ok"}


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(health, "PAUSE", 0.1)


@pytest.mark.usefixtures("_impatient")
def test_while_nobody_asks_the_service_does() -> None:
    async def story(url: str, asked: list[Any]) -> None:
        async with UpstreamClient(Settings(prometheus_url=url), Telemetry()) as upstream:
            upstream.watch()
            await reach(lambda: len(asked) >= 2 and upstream.health.failure is None)

    with FakeUpstream(fakes.healthy) as fake:
        asyncio.run(story(fake.url, fake.requests))
    assert {request.query for request in fake.requests} == {PROBE.get("query")}


@pytest.mark.usefixtures("_impatient")
def test_the_application_asks_from_its_start_on_and_a_host_never() -> None:
    with FakeUpstream(fakes.healthy) as fake, FakeUpstream(fakes.healthy) as of_host:
        app = FastAPI()
        setup_prometheus_routes(app, settings=Settings(prometheus_url=of_host.url))
        with TestClient(app) as host, serving(fake.url) as client:
            host.get("/prometheus/metrics/docs")
            wait_until(lambda: len(fake.requests) >= 3)
            assert client.get("/livez").status_code == 200

    assert of_host.requests == []


def test_while_others_ask_the_service_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "IDLE_SECONDS", 2.0)

    async def story(url: str) -> None:
        async with UpstreamClient(Settings(prometheus_url=url), Telemetry()) as upstream:
            upstream.watch()
            until = time.monotonic() + 2.5
            while time.monotonic() < until:
                await upstream.instant("vector(2)")
                await asyncio.sleep(0.05)

    with FakeUpstream(fakes.healthy) as fake:
        asyncio.run(story(fake.url))
    assert {request.query for request in fake.requests} == {"vector(2)"}


@pytest.mark.usefixtures("_impatient")
def test_an_outage_while_nobody_asks_is_known_and_its_end_too() -> None:
    async def story() -> list[bool]:
        telemetry = Telemetry()
        port = fakes.closed_port()
        async with UpstreamClient(Settings(prometheus_url=f"http://127.0.0.1:{port}"), telemetry) as upstream:
            upstream.watch()
            await reach(lambda: upstream.health.breaker.is_open)
            down = "gatewayz_metrics_upstream_up 0.0" in telemetry.page().decode()
            with FakeUpstream(fakes.healthy, listens_on=("127.0.0.1", port)):
                await reach(lambda: not upstream.health.breaker.is_open)
                up = "gatewayz_metrics_upstream_up 1.0" in telemetry.page().decode()
        return [down, up]

    assert asyncio.run(story()) == [True, True]


def test_a_closed_client_asks_no_more() -> None:
    async def story(url: str) -> bool:
        upstream = UpstreamClient(Settings(prometheus_url=url), Telemetry())
        upstream.watch()
        await upstream.check(0.01)
        await upstream.aclose()
        return all(task.done() for task in (upstream.health._watch, upstream.health._probe) if task is not None)

    with FakeUpstream(fakes.hang) as fake:
        assert asyncio.run(story(fake.url))


def test_a_defect_in_our_own_question_breaks_neither_the_watch_nor_the_end(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    async def ask() -> None:
        asked.append(True)
        raise ZeroDivisionError("canary")

    async def story() -> None:
        found = health.UpstreamHealth(Telemetry(), ask)
        await found.check(10)
        await found.aclose()

    asyncio.run(story())

    assert asked == [True]
    assert caplog.messages == ["Asking the upstream failed by a defect: ZeroDivisionError: canary"]
