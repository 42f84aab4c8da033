"""What a host application notices of us: no 5xx, no API that nobody asked for, one line at the start."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, errors, setup_prometheus_routes
from gatewayz_metrics.errors import ServiceError, TooBusy
from gatewayz_metrics.http.route import SurfaceRouter, render_json_error
from gatewayz_metrics.integration import Installation
from gatewayz_metrics.service import Service, ServiceProvider
from starlette.requests import ClientDisconnect

from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import Behaviour, FakeUpstream
from tests.test_integration import HOSTS, Host

API_PATHS = ("query?query=up", "query_range?query=up&start=1&end=60&step=15", "labels", "series?match[]=up", "rules")
QUERY = {"targets": [{"refId": "A", "target": "up"}], "range": {"from": "2025-05-01T10:00:00Z"}, "intervalMs": 15000}


def hosting(setup: Callable[[FastAPI], Installation]) -> FastAPI:
    """A host with an answer for every path, so that it is seen which requests are left to it."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def everything(path: str) -> dict[str, str]:
        return {"host": path}

    setup(app)
    return app


def over(url: str, **options: Any) -> FastAPI:
    """A host with every surface over an upstream."""
    limits = {"prometheus_timeout": 0.1, "prometheus_range_timeout": 0.1}
    settings = Settings(prometheus_url=url, **{**limits, **options})
    return hosting(
        lambda app: setup_prometheus_routes(
            app, settings=settings, prometheus_api="/prometheus", json_datasource="/grafana"
        )
    )


# --------------------------------------------------------------------------- no 5xx

SURFACES: dict[str, Callable[[TestClient, int], Any]] = {
    "metrics": lambda client, turn: client.get(
        f"/prometheus/metrics/{('summary', 'system', 'all', 'docs', 'nothing')[turn % 5]}"
    ),
    "Prometheus API": lambda client, turn: client.get(f"/prometheus/api/v1/{API_PATHS[turn % 5]}"),
    "JSON datasource": lambda client, turn: (
        client.get("/grafana/") if turn % 5 == 0 else client.post("/grafana/query", json=QUERY)
    ),
}
OUTAGES: dict[str, Behaviour | None] = {
    "refused": None,
    "hanging": fakes.hang,
    "500": fakes.answering(b"oh", "500 Internal Server Error"),
    "503 in Prometheus' words": fakes.answering(fakes.error_body("timeout", "too slow"), "503 Service Unavailable"),
    "no JSON": fakes.html,
    "rate limit": fakes.answering(b"", "429 Too Many Requests"),
}


@contextmanager
def down(behaviour: Behaviour | None) -> Iterator[str]:
    """The URL of an upstream that is no help."""
    if behaviour is None:
        yield f"http://127.0.0.1:{fakes.closed_port()}"
    else:
        with FakeUpstream(behaviour) as fake:
            yield fake.url


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_is_no_server_error_of_the_host(outage: str, surface: str) -> None:
    with down(OUTAGES[outage]) as url, TestClient(over(url)) as client:
        answers = [SURFACES[surface](client, turn) for turn in range(200)]

    statuses = {answer.status_code for answer in answers}
    assert {status for status in statuses if status >= 500} == set()
    # An error envelope that the upstream itself wrote is no outage, and a panel shows it as a refusal.
    if surface != "metrics" and outage != "503 in Prometheus' words":
        assert statuses == {422}


def test_the_answers_keep_the_words_that_grafana_shows() -> None:
    with down(None) as url, TestClient(over(url)) as client:
        api = client.get("/prometheus/api/v1/query?query=up")
        panel = client.post("/grafana/query", json=QUERY)
        check = client.get("/grafana/")
        summary = client.get("/prometheus/metrics/summary")

    assert (api.status_code, api.json()["status"], api.json()["errorType"]) == (422, "error", "unavailable")
    assert "cannot be reached" in api.json()["error"]
    for answer, words in ((panel, "target A: The upstream at"), (check, "The upstream at")):
        message = answer.json()["message"]
        assert message.startswith(words)
        assert answer.json()["error"] == {"code": "unreachable", "message": message}
        assert answer.status_code == 422
    assert (summary.status_code, "cannot be reached" in summary.json()["error"]) == (200, True)


def test_a_deadline_keeps_its_error_type() -> None:
    with FakeUpstream(fakes.hang) as fake, TestClient(over(fake.url)) as client:
        answer = client.get("/prometheus/api/v1/query?query=up")

    assert (answer.status_code, answer.json()["errorType"]) == (422, "timeout")


class HostTrouble(Exception):
    """Something that only the host knows how to answer."""


def raising(error: Exception, *, in_host: bool = True, **options: Any) -> TestClient:
    """An application with one route of ours, which fails."""

    def create(_: object) -> Service:
        raise AssertionError

    router = SurfaceRouter(ServiceProvider(create, in_host=in_host), render_json_error, tag="test")

    @router.get("/fail")
    async def fail() -> Response:
        raise error

    app = FastAPI(**options)
    app.include_router(router)

    @app.exception_handler(HostTrouble)
    async def handle(_: Request, __: Exception) -> Response:
        return Response("the host knows", 599)

    return TestClient(app, raise_server_exceptions=False)


def classes(base: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield base
    for one in base.__subclasses__():
        yield from classes(one)


@pytest.mark.parametrize("kind", sorted(set(classes(ServiceError)), key=str))
def test_no_error_of_ours_is_a_5xx_in_a_host(kind: type[ServiceError]) -> None:
    # Their arguments differ, and none of them decides the status.
    error = kind.__new__(kind)
    error.args = ("A sentence.",)
    if kind is errors.TargetsFailed:
        error._first = TooBusy(1)  # type: ignore[attr-defined]  # its own
    if kind is errors.MethodNotAllowed:
        error.allowed = "GET"  # type: ignore[attr-defined]  # its own
    inside, alone = (raising(error, in_host=in_host).get("/fail") for in_host in (True, False))

    assert alone.status_code == kind.status
    assert inside.status_code == (kind.status if kind.status < 500 else 422)
    assert inside.json() == alone.json()


def test_a_defect_of_ours_is_told_in_the_log_and_no_5xx(caplog: pytest.LogCaptureFixture) -> None:
    answer = raising(ZeroDivisionError("canary")).get("/fail")

    assert (answer.status_code, answer.json()["code"]) == (422, "internal")
    assert "canary" not in answer.text
    assert len(caplog.records) == 1
    assert re.search(r"GET /fail failed: ZeroDivisionError: canary \(.*test_guest\.py:\d+\)$", caplog.messages[0])
    assert raising(ZeroDivisionError("canary"), in_host=False).get("/fail").status_code == 500


def test_a_caller_who_leaves_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    answer = raising(ClientDisconnect()).get("/fail")

    assert (answer.status_code, caplog.records) == (499, [])


def test_what_a_dependency_of_the_host_raises_is_the_hosts() -> None:
    def login() -> None:
        raise HostTrouble

    answer = raising(ZeroDivisionError(), dependencies=[Depends(login)]).get("/fail")

    assert (answer.status_code, answer.text) == (599, "the host knows")


def included(dependencies: list[Any]) -> TestClient:
    """An application with ours inside a router of its own, which has dependencies."""
    inner, app = FastAPI(), FastAPI()
    setup_prometheus_routes(inner, settings=Settings(prometheus_url="http://127.0.0.1:9"), prometheus_api="/prometheus")
    app.include_router(inner.router, dependencies=dependencies)
    return TestClient(app)


def before_all_routes(dependencies: list[Any]) -> TestClient:
    """An application whose dependencies stand before every route."""
    app = FastAPI(dependencies=dependencies)
    setup_prometheus_routes(app, settings=Settings(prometheus_url="http://127.0.0.1:9"), prometheus_api="/prometheus")
    return TestClient(app)


@pytest.mark.parametrize("make", [included, before_all_routes])
@pytest.mark.parametrize(
    "path", ["/prometheus/metrics/summary", "/prometheus/metrics/docs", "/prometheus/api/v1/labels", "/prometheus/-/x"]
)
def test_a_login_of_the_host_stands_before_every_route(make: Callable[[list[Any]], TestClient], path: str) -> None:
    def login() -> None:
        raise HTTPException(401, "who are you?")

    answer = make([Depends(login)]).get(path)

    assert (answer.status_code, answer.json()) == (401, {"detail": "who are you?"})


# --------------------------------------------------------------------------- who may ask

TOKEN = {"Authorization": "Bearer the-token"}


@pytest.mark.parametrize("started", [True, False], ids=["started", "not started"])
@pytest.mark.parametrize(
    ("arguments", "tokens", "served"),
    [
        ({}, (), None),
        ({}, ("the-token",), ""),
        ({"prometheus_api": ""}, (), ""),
        ({"prometheus_api": "/"}, (), ""),
        ({"prometheus_api": "/prometheus"}, (), "/prometheus"),
        ({"prometheus_api": "/prometheus"}, ("the-token",), "/prometheus"),
        ({"prometheus_api": None}, ("the-token",), None),
    ],
    ids=["nothing", "tokens", "root", "slash", "prefix", "prefix and tokens", "left out"],
)
def test_the_prometheus_api_is_served_to_whom_somebody_chose(
    arguments: dict[str, str | None], tokens: tuple[str, ...], served: str | None, started: bool
) -> None:
    with FakeUpstream(fakes.healthy) as fake:
        settings = Settings(prometheus_url=fake.url, api_tokens=tokens)
        app = hosting(lambda app: setup_prometheus_routes(app, settings=settings, **arguments))
        client = TestClient(app)
        if started:
            client.__enter__()
        for prefix in ("", "/prometheus"):
            answer = client.get(f"{prefix}/api/v1/query?query=up", headers=TOKEN)
            stranger = client.post(f"{prefix}/api/v1/query", data={"query": "up"})
            if prefix == served:
                assert answer.json()["status"] == "success"
                assert stranger.status_code == (401 if tokens else 200)
            else:
                assert answer.json() == stranger.json() == {"host": f"{prefix}/api/v1/query".strip("/")}
        assert client.get("/prometheus/metrics/docs", headers=TOKEN).status_code == 200
        if started:
            client.__exit__(None, None, None)


def test_without_a_route_of_the_hosts_it_is_not_there() -> None:
    app = FastAPI()
    setup_prometheus_routes(app, settings=Settings(prometheus_url="http://127.0.0.1:9"))
    client = TestClient(app)
    answers = [client.request(method, "/api/v1/query") for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS")]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, {"detail": "Not Found"})] * 5
    # Nor does the host's description promise it.
    assert [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/api")] == []


def test_settings_that_close_everything_open_no_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAYZ_METRICS_API_TOKENS", ",")
    client = TestClient(hosting(setup_prometheus_routes))

    assert client.get("/api/v1/query?query=up").status_code == 401


# --------------------------------------------------------------------------- the line at the start


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(r.levelname, r.getMessage()) for r in caplog.records if r.name.startswith("gatewayz_metrics")]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.__name__)
def test_one_line_says_what_is_served_and_who_may_ask(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(prometheus_url="http://127.0.0.1:9", api_tokens=("a", "b"))
    app = host(lambda app: setup_prometheus_routes(app, settings=settings, json_datasource="grafana/"))
    for _ in range(2):
        with TestClient(app) as client:
            client.get("/prometheus/metrics/docs")
            client.get("/api/v1/query")

    assert (
        lines(caplog)
        == [
            (
                "INFO",
                "Serving the metrics routes below /prometheus/metrics, the Prometheus API at /api/v1, "
                "the JSON datasource at /grafana. Who may ask: callers with one of 2 API_TOKENS.",
            )
        ]
        * 2
    )


def test_an_open_host_is_warned(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with TestClient(over("http://127.0.0.1:9")) as client:
        client.get("/prometheus/metrics/docs")

    assert lines(caplog) == [
        (
            "WARNING",
            "Serving the metrics routes below /prometheus/metrics, the Prometheus API at /prometheus/api/v1, "
            "the JSON datasource at /grafana. Who may ask: everybody, for there are no API_TOKENS.",
        )
    ]


def test_one_warning_says_how_the_prometheus_api_is_switched_on(caplog: pytest.LogCaptureFixture) -> None:
    app = hosting(lambda app: setup_prometheus_routes(app, settings=Settings(prometheus_url="http://127.0.0.1:9")))
    with TestClient(app) as client:
        for _ in range(3):
            client.get("/api/v1/query")

    [how, line] = lines(caplog)
    assert how[0] == line[0] == "WARNING"
    assert "GATEWAYZ_METRICS_API_TOKENS" in how[1]
    assert 'prometheus_api="/prometheus"' in how[1]
    assert "api/v1" not in line[1]
