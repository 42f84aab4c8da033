"""What one caller does takes nothing from another: slow queries, faults of its own, connections that it closes."""

import asyncio
import select
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from gatewayz_metrics import Settings, create_app, setup_prometheus_routes
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ServiceError
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.breaker import FAILURES
from gatewayz_metrics.upstream.client import PROBE, UpstreamClient
from gatewayz_metrics.upstream.principal import Principal, set_principal
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint

from tests.support import fake_upstream as fakes
from tests.support.engine import Engine
from tests.support.fake_upstream import Behaviour, Exchange, FakeUpstream, answering
from tests.support.server import listening, running
from tests.support.waiting import reach, wait_until

QUERY = "/api/v1/query"
SERVICE, A, B = ({"Authorization": f"Bearer {name}"} for name in ("service", "a", "b"))
TENANTS = {"prometheus_engine": "mimir", "api_tokens": ("service",), "tenants": {"a": "tenant-a", "b": "tenant-b"}}
# So long that only what is never answered ends by it.
PATIENT = {"prometheus_timeout": 300, "prometheus_range_timeout": 3600, "cache_ttl": 0}
EMPTY_MATRIX = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'


@asynccontextmanager
async def asking(url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the stand-alone application in this event loop."""
    transport = httpx.ASGITransport(create_app(Settings(prometheus_url=url, **settings)))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


def holding(is_slow: Callable[[fakes.Received], bool], until: threading.Event) -> Behaviour:
    """Answers, but those to slow requests only when it is time."""

    def behave(exchange: Exchange) -> None:
        if is_slow(exchange.request):
            while not until.is_set() and exchange.wait(0.01):
                pass
        is_range = exchange.request.path.endswith("query_range")
        exchange.reply(EMPTY_MATRIX if is_range else fakes.one_each(exchange.request))

    return behave


async def assert_eight_routes_answer(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    summary = (await client.get("/prometheus/metrics/summary", headers=headers)).json()
    assert not {"error", "errors"} & set(summary)
    assert "N/A" not in {value for keys in summary["metrics"].values() for value in keys.values()}
    for page in (*load().categories, "all", "docs"):
        answer = await client.get(f"/prometheus/metrics/{page}", headers=headers)
        assert (answer.status_code, answer.headers.get("x-upstream-status", "ok")) == (200, "ok")


@pytest.mark.parametrize("path", [QUERY, "/api/v1/query_range"])
def test_slow_clients_of_one_tenant_take_nothing_from_another(path: str) -> None:
    until = threading.Event()
    slow = holding(lambda request: request.header("x-scope-orgid") == ["tenant-a"], until)
    span = {"start": "1760000000", "end": "1760036000", "step": "15"}

    async def story(url: str) -> None:
        async with asking(url, **TENANTS, **PATIENT) as client:
            crowd = [
                asyncio.create_task(client.get(path, params={"query": f"a{number}", **span}, headers=A))
                for number in range(25)
            ]
            await reach(lambda: len(fake.requests) >= 8)
            for number in range(20):
                answer = await client.get(QUERY, params={"query": f"b{number}"}, headers=B)
                assert answer.status_code == 200
            await assert_eight_routes_answer(client, SERVICE)
            assert [task.result().text for task in crowd if task.done()] == []
            until.set()
            assert {answer.status_code for answer in await asyncio.gather(*crowd)} == {200}

    with FakeUpstream(slow) as fake:
        asyncio.run(story(fake.url))


def test_queries_that_run_into_their_deadlines_suspend_nobody() -> None:
    until = threading.Event()
    slow = holding(lambda request: request.query.startswith("slow"), until)

    async def story(url: str) -> None:
        async with asking(url, **PATIENT) as client:
            for turn in range(2):
                crowd = (
                    client.get(QUERY, params={"query": f"slow{turn}{number}", "timeout": "10ms"}) for number in range(8)
                )
                answers = await asyncio.gather(*crowd)
                assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {(503, "1")}
                assert (await client.get(QUERY, params={"query": f"b{turn}"})).status_code == 200
                await assert_eight_routes_answer(client, {})
            assert "gatewayz_metrics_upstream_up 1.0" in (await client.get("/metrics")).text

    with FakeUpstream(slow) as fake:
        asyncio.run(story(fake.url))
        until.set()


def test_nested_subqueries_of_six_clients_suspend_nobody(prometheus: Engine) -> None:
    heavy = "sum_over_time(max_over_time(sum_over_time(rate({__name__=~'.+'}[5m])[1h:%ds])[1h:10s])[1h:10s])"

    async def story() -> None:
        async with asking(prometheus.url, **PATIENT) as client:
            for turn in range(2):
                crowd = (
                    client.get(QUERY, params={"query": heavy % (number + 5), "timeout": "20ms"}) for number in range(6)
                )
                await asyncio.gather(*crowd)
                answer = await client.get(QUERY, params={"query": f"vector({turn})"})
                assert answer.status_code == 200
            assert "gatewayz_metrics_upstream_up 1.0" in (await client.get("/metrics")).text

    asyncio.run(story())


# --------------------------------------------------------------------------- what opens the circuit breaker


def probes_pass(fault: Behaviour) -> Behaviour:
    """The fault for callers' queries; the cheapest question is answered."""
    return lambda exchange: (fakes.no_series if exchange.request.query == PROBE.get("query") else fault)(exchange)


FAULTS: dict[str, tuple[Behaviour | None, bool]] = {
    "refused": (None, True),
    "reset": (fakes.reset_before_reply, True),
    "reset mid-body": (fakes.reset_mid_body, True),
    "hangs": (fakes.hang, True),
    "500": (answering(b"", "500 Internal Server Error"), True),
    "502 HTML": (answering(b"<html>", "502 Bad Gateway", Content_Type="text/html"), True),
    "503 text": (answering(b"no healthy upstream", "503 Service Unavailable"), True),
    "hangs for one query": (probes_pass(fakes.hang), False),
    "reset for one query": (probes_pass(fakes.reset_before_reply), False),
    "500 for one query": (probes_pass(answering(b"", "500 Internal Server Error")), False),
    "500 in words": (answering(fakes.error_body("internal", "a block"), "500 Internal Server Error"), False),
    "503 in words": (answering(fakes.error_body("timeout", "too slow"), "503 Service Unavailable"), False),
    "400": (fakes.REFUSAL, False),
    "401": (answering(b"", "401 Unauthorized"), False),
    "403": (answering(b"<html>", "403 Forbidden"), False),
    "404": (answering(b"", "404 Not Found"), False),
    "413": (answering(b"", "413 Content Too Large"), False),
    "414": (answering(b"", "414 URI Too Long"), False),
    "429": (answering(b"", "429 Too Many Requests"), False),
    "429 for a minute": (answering(b"", "429 Too Many Requests", Retry_After="60"), False),
    "redirect": (fakes.redirect, False),
    "login page": (fakes.html, False),
    "invalid JSON": (fakes.invalid_json, False),
    "too large": (fakes.endless, False),
}


@pytest.mark.parametrize(("fault", "opens"), FAULTS.values(), ids=FAULTS)
def test_the_breaker_opens_when_the_upstream_is_down_and_only_then(fault: Behaviour | None, opens: bool) -> None:
    async def story(url: str) -> tuple[bool, bool]:
        settings = Settings(prometheus_url=url, prometheus_timeout=0.3, max_response_bytes=2**16)
        telemetry = Telemetry()
        async with UpstreamClient(settings, telemetry) as upstream:
            # Once it was up: what happens later is what counts.
            telemetry.upstream_up.set(1)
            for number in range(FAILURES + 1):
                await fail(upstream, f"q{number}")
            if upstream.health._probe is not None:
                await upstream.health._probe
            return upstream.health.breaker.is_open, "gatewayz_metrics_upstream_up 0.0" in telemetry.page().decode()

    with FakeUpstream(fault or fakes.hang) as fake:
        url = fake.url if fault else f"http://127.0.0.1:{fakes.closed_port()}"
        found = asyncio.run(story(url))

    assert found == (opens, opens)


async def fail(upstream: UpstreamClient, query: str) -> str:
    """Ask; the code of the error, if there is one."""
    try:
        await upstream.forward(ApiRequest(Endpoint.QUERY, (("query", query),)))
    except ServiceError as exc:
        return exc.code
    return "ok"


@pytest.mark.parametrize(
    ("status", "retry_after", "failures"),
    [("429 Too Many Requests", "60", 1), ("429 Too Many Requests", "", FAILURES), ("403 Forbidden", "", FAILURES)],
)
def test_who_is_limited_or_refused_pauses_alone(status: str, retry_after: str, failures: int) -> None:
    headers = {"Retry_After": retry_after} if retry_after else {}
    limited = fakes.when(lambda request: request.query.startswith("a"), answering(b"", status, **headers))

    async def story(url: str) -> tuple[list[str], str]:
        async with UpstreamClient(Settings(prometheus_url=url), Telemetry()) as upstream:
            set_principal(Principal("address a"))
            codes = [await fail(upstream, f"a{number}") for number in range(failures + 2)]
            set_principal(Principal("address b"))
            other = await fail(upstream, "b")
            await upstream.instant("vector(1)")
            return codes, other

    with FakeUpstream(limited) as fake:
        codes, other = asyncio.run(story(fake.url))

    assert "suspended" not in codes[:failures]
    assert codes[failures:] == ["suspended"] * 2
    assert other == "ok"


def test_our_own_queue_is_no_failure_of_the_upstream() -> None:
    async def story(url: str) -> None:
        async with asking(url, **PATIENT | {"prometheus_connections": 1}) as client:
            answers = await asyncio.gather(
                *(client.get(QUERY, params={"query": f"q{number}", "timeout": "1h"}) for number in range(40))
            )
            assert {answer.status_code for answer in answers} == {200}

    with FakeUpstream(fakes.healthy) as fake:
        asyncio.run(story(fake.url))


# --------------------------------------------------------------------------- clients that leave


class Leaving:
    """A behaviour that never answers slow requests and counts those that were given up."""

    def __init__(self) -> None:
        self.begun = 0
        self.abandoned = 0
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        if not exchange.request.query.startswith("slow"):
            exchange.reply(fakes.one_each(exchange.request))
            return
        with self._lock:
            self.begun += 1
        while exchange.wait(0.01):
            if select.select([exchange.connection], [], [], 0)[0]:
                with self._lock:
                    self.abandoned += 1
                return


def in_a_host(settings: Settings) -> FastAPI:
    app = FastAPI()
    setup_prometheus_routes(app, settings=settings, json_datasource="/grafana", prometheus_api="")
    return app


def send(url: str, method: str, path: str, body: bytes = b"") -> socket.socket:
    """A request whose answer nobody has read yet."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname or "", parts.port or 0))
    kind = b"application/x-www-form-urlencoded"
    head = f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"Content-Type: " + kind + b"\r\n\r\n" + body)
    return connection


@pytest.mark.parametrize("create", [create_app, in_a_host], ids=["stand-alone", "in a host"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_clients_that_leave_leave_nothing_running(create: Callable[[Settings], FastAPI], method: str) -> None:
    behaviour = Leaving()
    with FakeUpstream(behaviour) as fake:
        app = create(Settings(prometheus_url=fake.url, **PATIENT))  # type: ignore[arg-type]  # numbers all
        with running(app, listening()) as url:
            queries = [f"query=slow{number}" for number in range(60)]
            clients = [
                send(url, "GET", f"{QUERY}?{query}") if method == "GET" else send(url, "POST", QUERY, query.encode())
                for query in queries
            ]
            wait_until(lambda: behaviour.begun >= 8)
            for client in clients:
                client.close()
            wait_until(lambda: behaviour.abandoned == behaviour.begun)
            answer = httpx.get(f"{url}{QUERY}", params={"query": "quick"}, timeout=60, trust_env=False)

            assert answer.status_code == 200
            # Those who waited for a place gave up their wait.
            assert behaviour.begun < len(clients)


def test_a_call_that_others_wait_for_goes_on() -> None:
    until = threading.Event()
    slow = holding(lambda request: request.query == "slow", until)
    with FakeUpstream(slow) as fake:
        app = create_app(Settings(prometheus_url=fake.url, **PATIENT))  # type: ignore[arg-type]  # numbers all
        with running(app, listening()) as url:
            stays = send(url, "GET", f"{QUERY}?query=slow")
            leaves = send(url, "GET", f"{QUERY}?query=slow")
            wait_until(lambda: bool(fake.requests))
            leaves.close()
            until.set()
            with stays:
                assert stays.recv(12) == b"HTTP/1.1 200"

    assert len(fake.requests) == 1
