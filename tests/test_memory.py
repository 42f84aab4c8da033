"""One budget of memory: what does not fit is refused at once, and every reservation ends exactly once."""

import asyncio
import json
import re
import socket
import tracemalloc
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, cooperative, create_app, setup_prometheus_routes
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import MemoryFull
from gatewayz_metrics.json_datasource.prometheus import PrometheusQueries
from gatewayz_metrics.json_datasource.response import encode_array, render_elements
from gatewayz_metrics.json_datasource.results import TargetResult, TargetSeries, decode_result
from gatewayz_metrics.json_datasource.targets import TargetPlan, TargetQuery
from gatewayz_metrics.memory import (
    AnswerBuffer,
    MemoryBudget,
    borrow_memory,
    charging,
    let_accounts_go,
    reserve_memory,
)
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.service import Service
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamClient
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint
from gatewayz_metrics.upstream.response import read_body
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

from tests.json_datasource.asking import question
from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.fake_upstream import Exchange, FakeUpstream, answering, head
from tests.support.server import listening, running
from tests.support.waiting import reach, wait_until

BEGIN = 1_746_093_600
HOUR = {"from": "2025-05-01T10:00:00.000Z", "to": "2025-05-01T11:00:00.000Z"}
MEGABYTE = 2**20


def matrix(size: int, points: int = 1, kind: str = "matrix") -> bytes:
    """A success of about so many bytes."""
    values = ",".join(f'[{BEGIN + 15 * step},"{step}.5"]' for step in range(points))
    found = f'"values":[{values}]' if kind == "matrix" else f'"value":[{BEGIN},"1.5"]'
    one = len(found) + 60
    result = ",".join(f'{{"metric":{{"instance":"10.0.0.1:9090","n":"{n:08}"}},{found}}}' for n in range(size // one))
    return f'{{"status":"success","data":{{"resultType":"{kind}","result":[{result}]}}}}'.encode()


def names(size: int) -> bytes:
    return (
        json.dumps({"status": "success", "data": [f"name-{n:020}" for n in range(size // 28)]})
        .replace(", ", ",")
        .replace(": ", ":")
        .encode()
    )


# The budget itself.


def test_a_reservation_ends_once_however_often_it_is_closed() -> None:
    budget = MemoryBudget(1000)
    account = budget.open()
    account.reserve(100)
    with charging(account):
        with pytest.raises(MemoryFull) as refused:
            reserve_memory(800)
        with borrow_memory(700):
            assert budget.held == 800
    assert (budget.held, refused.value.status, refused.value.limit) == (100, 503, "max_memory_bytes")

    account.close()
    account.close()
    account.reserve(50)  # by a task that ends after its request
    assert budget.held == 0


def test_callers_leave_some_to_the_catalogue() -> None:
    budget = MemoryBudget(1000)
    budget.open().reserve(875)
    with pytest.raises(MemoryFull):
        budget.open().reserve(1)
    budget.open(for_catalogue=True).reserve(125)
    with pytest.raises(MemoryFull):
        budget.open(for_catalogue=True).reserve(1)


def test_a_shared_answer_is_reserved_until_the_last_request_has_ended() -> None:
    budget = MemoryBudget(1000)
    shared: SingleFlightCache[str] = SingleFlightCache(lambda _: 0.0, lambda: 0.0)

    async def produce() -> str:
        reserve_memory(100)
        await asyncio.sleep(0)
        return "answer"

    async def use(begin: asyncio.Event, *, keeps: bool) -> None:
        account = budget.open()
        with charging(account):
            assert await shared.get("key", produce) == "answer"
            if not keeps:
                let_accounts_go()
            await begin.wait()
        account.close()

    async def run() -> list[int]:
        events = [asyncio.Event() for _ in range(3)]
        tasks = [asyncio.create_task(use(event, keeps=place > 0)) for place, event in enumerate(events)]
        await reach(lambda: budget.held == 100)
        seen = []
        for event, task in zip(events, tasks, strict=True):
            event.set()
            await task
            seen.append(budget.held)
        return seen

    assert asyncio.run(run()) == [100, 100, 0]


def test_a_shared_call_that_nobody_waits_for_keeps_nothing() -> None:
    budget = MemoryBudget(1000)
    shared: SingleFlightCache[None] = SingleFlightCache(lambda _: 0.0, lambda: 0.0)

    async def produce() -> None:
        reserve_memory(100)
        try:
            await asyncio.Event().wait()
        finally:
            reserve_memory(100)  # nobody would take it back

    async def run() -> None:
        account = budget.open()
        with charging(account):
            task = asyncio.create_task(shared.get("key", produce))
            await reach(lambda: budget.held == 100)
            task.cancel()
            await asyncio.wait([task])
        await asyncio.sleep(0)
        account.close()

    asyncio.run(run())
    assert budget.held == 0


def test_a_body_that_many_responses_send_is_counted_once() -> None:
    budget, body = MemoryBudget(1000), bytes(400)
    accounts = [budget.open() for _ in range(3)]
    for account in accounts:
        account.reserve(10)
        account.settle(body)
    assert budget.held == 400
    for left, account in zip((400, 400, 0), accounts, strict=True):
        account.close()
        assert budget.held == left


def test_a_buffer_reserves_what_it_holds_before_it_holds_it() -> None:
    budget = MemoryBudget(10**6)
    with charging(budget.open()):
        buffer = AnswerBuffer()
        buffer.write(bytes(500_000))
        assert 500_000 <= budget.held <= 600_000
        with pytest.raises(MemoryFull):
            buffer.write(bytes(400_000))
        assert buffer.finish() == bytes(500_000)


# Over the service.

LARGE = matrix(2 * MEGABYTE)


def held(client: TestClient | httpx.Client) -> float:
    """The bytes that are reserved."""
    found = re.search(r"^gatewayz_metrics_memory_bytes (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found, client.get("/metrics").text[-1500:]
    return float(found[1])


def panel() -> dict[str, Any]:
    return question([{"refId": "A", "target": "up"}])


ASK: dict[str, Callable[[TestClient], Any]] = {
    "instant": lambda client: client.get("/api/v1/query?query=up"),
    "range": lambda client: client.get(f"/api/v1/query_range?query=up&start={BEGIN}&end={BEGIN + 60}&step=15"),
    "panel": lambda client: client.post("/query", json=panel()),
    "variable": lambda client: client.post("/variable", json={"payload": {"target": "label_values(a)"}, "range": HOUR}),
    "series": lambda client: client.get("/api/v1/series?match[]=up"),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_what_does_not_fit_is_refused_at_once(ask: Callable[[TestClient], Any]) -> None:
    with FakeUpstream(answering(LARGE)) as fake, serving(fake.url, max_memory_bytes=MEGABYTE) as client:
        response = ask(client)
        page = client.get("/metrics").text
        assert held(client) == 0

    assert response.status_code == 503, response.text
    assert response.headers["retry-after"] == "1"
    assert "MAX_MEMORY_BYTES" in response.text
    assert 'limit_refusals_total{limit="max_memory_bytes"} 1.0' in page


def test_in_a_host_a_refusal_is_no_5xx() -> None:
    app = FastAPI()
    with FakeUpstream(answering(LARGE)) as fake:
        settings = Settings(prometheus_url=fake.url, max_memory_bytes=MEGABYTE)
        setup_prometheus_routes(app, settings=settings, json_datasource="/grafana", prometheus_api="/prom")
        with TestClient(app) as client:
            answers = [client.post("/grafana/query", json=panel()), client.get("/prom/api/v1/query?query=up")]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert all("MAX_MEMORY_BYTES" in answer.text for answer in answers)


def test_the_metrics_routes_answer_beside_what_callers_fill() -> None:
    """Somebody's half answer takes all that callers may have; the catalogue has memory of its own."""

    def behave(exchange: Exchange) -> None:
        if exchange.request.form["query"] == ["hog"]:
            exchange.send(head("200 OK", 2 * MEGABYTE), LARGE[: 700 * 1024])
            exchange.wait(60)
        elif exchange.request.form["query"] == ["another"]:
            exchange.reply(matrix(300 * 1024, kind="vector"))
        else:
            fakes.healthy(exchange)

    with FakeUpstream(behave) as fake, running_over(fake.url, max_memory_bytes=MEGABYTE, prometheus_timeout=60) as url:
        with socket.create_connection(address(url)) as hog, httpx.Client(base_url=url, trust_env=False) as client:
            hog.sendall(b"GET /api/v1/query?query=hog HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: held(client) > 700 * 1024)
            refused = client.get("/api/v1/query?query=another")
            pages = [client.get(f"/prometheus/metrics/{page}") for page in ("summary", "system", "all")]
            assert refused.status_code == 503
        # The client has left in the middle of the answer.
        with httpx.Client(base_url=url, trust_env=False) as client:
            wait_until(lambda: held(client) == 0)

    for page in pages:
        assert page.status_code == 200
        assert page.headers["x-upstream-status"] == "ok"


def running_over(url: str, **settings: Any) -> Any:
    return running(create_app(Settings(prometheus_url=url, **settings)), listening())


def address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def test_a_body_is_reserved_until_a_slow_reader_has_it() -> None:
    body = matrix(24 * MEGABYTE, points=1000)
    with FakeUpstream(answering(body)) as fake, running_over(fake.url) as url:
        with socket.socket() as reader, httpx.Client(base_url=url, trust_env=False) as client:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
            reader.connect(address(url))
            reader.sendall(b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: a\r\n\r\n")
            assert reader.recv(9) == b"HTTP/1.1 "
            # Settled: the body alone, without what the buffer had in excess.
            wait_until(lambda: held(client) == len(body))
        with httpx.Client(base_url=url, trust_env=False) as client:
            wait_until(lambda: held(client) == 0)


# How much is spent, and in which pieces.


def test_a_large_panel_takes_a_small_multiple_of_its_answer() -> None:
    """Attack H5: one answer of 30 MB took 2 GB."""
    target = TargetPlan("A", (TargetQuery("", QueryText("up")),), TimeRange(0, 15_000, 15_000), 0)

    async def render() -> tuple[int, int, int]:
        tracemalloc.start(1)
        decoded = await decode_result(LARGE)
        _, decoding = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        result = TargetResult(target, TargetSeries([(target.asks[0], decoded.series)]))
        written = await encode_array(render_elements([result]))
        return decoding, tracemalloc.get_traced_memory()[1], len(written)

    try:
        decoding, rendering, written = asyncio.run(render())
    finally:
        tracemalloc.stop()

    # Measured: the answer once, and the response with an eighth more.
    assert decoding < 1.5 * len(LARGE)
    assert rendering < 1.5 * len(LARGE) + 1.3 * written


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of work is followed by a pause."""
    monkeypatch.setattr(cooperative, "PIECE_SECONDS", -1.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("body", "ask"),
    [
        (LARGE, "panel"),
        (names(2 * MEGABYTE), "variable"),
        (names(2 * MEGABYTE), "values"),
        (matrix(2 * MEGABYTE, kind="vector"), "catalogue"),
    ],
    ids=["panel", "variable", "values", "catalogue"],
)
def test_a_large_answer_is_worked_on_in_pieces(body: bytes, ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack H5, peers 1.3: other tasks run more than a hundred times meanwhile, in turns that all are short."""

    async def run(url: str) -> int:
        service = Service(Settings(prometheus_url=url, cache_range=False), Telemetry())
        questions = PrometheusQueries(service.responses, service.range_cache)
        ways: dict[str, Callable[[], Any]] = {
            "panel": lambda: service_panel(service),
            "variable": lambda: questions.label_values("a", "", None),
            "values": lambda: service_values(service),
            "catalogue": lambda: read_catalogue(service.layer),
        }
        task = asyncio.create_task(ways[ask]())
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += bool(read)
        await task
        await service.aclose()
        return turns

    read: list[bytes] = []

    async def read_and_note(*arguments: Any, **options: Any) -> bytes:
        read.append(await read_body(*arguments, **options))
        return read[-1]

    # Only what is done once the answer is there counts: while it arrives other tasks run in any case.
    monkeypatch.setattr("gatewayz_metrics.upstream.client.read_body", read_and_note)
    with FakeUpstream(answering(body)) as fake:
        assert asyncio.run(run(fake.url)) > 150


async def service_panel(service: Service) -> None:
    from gatewayz_metrics.json_datasource.results import decode_result

    raw, _ = await service.responses.get(ApiRequest(Endpoint.QUERY, (("query", "up"),)))
    assert len((await decode_result(raw.body)).series) > 10_000


async def service_values(service: Service) -> None:

    await service.responses.get(ApiRequest(Endpoint.LABEL_VALUES, (), "a"))


async def read_catalogue(layer: QueryLayer) -> None:
    await layer.families("system")


@pytest.mark.parametrize(("max_memory", "batches"), [(1000, 2), (2**29, 1)])
def test_snapshots_are_kept_within_their_share(max_memory: int, batches: int) -> None:
    """A snapshot for each `time=` that somebody asks for would fill the memory."""

    async def run(url: str) -> None:
        telemetry = Telemetry()
        async with UpstreamClient(Settings(prometheus_url=url), telemetry) as client:
            layer = QueryLayer(load(), client, telemetry, max_memory=max_memory)
            for _ in range(2):
                await layer.families("system")

    with FakeUpstream(fakes.healthy) as fake:
        asyncio.run(run(fake.url))
        assert len(fake.requests) == batches
