"""Where the routes stand, who may ask, and which pages of other origins may."""

import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, setup_prometheus_routes

from tests.json_datasource.asking import answer, assert_error, question, replay
from tests.json_datasource.recorded_data import INSTANCE_COUNT
from tests.support.client import serving
from tests.support.engine import Engine

PATHS = [
    "/search",
    "/metrics",
    "/metric-payload-options",
    "/query",
    "/variable",
    "/annotations",
    "/tag-keys",
    "/tag-values",
]
UP = question([{"refId": "A", "target": "up"}])
ORIGIN = "http://grafana.example:3000"


@contextmanager
def hosted(engine: Engine, **options: Any) -> Iterator[TestClient]:
    """A host application with routes of its own, and ours in it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with setup_prometheus_routes(app, settings=Settings(prometheus_url=engine.url), **options):
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def home() -> dict[str, str]:
        return {"host": "home"}

    @app.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def everything(path: str) -> dict[str, str]:
        return {"host": path}

    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("prefix", ["/grafana", "grafana/", "/a/b"])
def test_a_prefix_with_and_without_slash_needs_no_redirect(recorded_engine: Engine, prefix: str) -> None:
    base = f"/{prefix.strip('/')}"
    with hosted(recorded_engine, json_datasource=prefix) as client:
        for path in (base, f"{base}/"):
            assert answer(client.get(path, follow_redirects=False)) == {"status": "ok"}
        assert len(answer(client.post(f"{base}/query", json=UP))) == INSTANCE_COUNT
        assert client.get("/").json() == {"host": "home"}
        assert client.post("/query", json=UP).json() == {"host": "query"}


def test_unknown_paths_below_the_prefix_say_what_there_is(recorded_engine: Engine) -> None:
    with hosted(recorded_engine, json_datasource="/grafana") as client:
        assert_error(client.post("/grafana/nothing"), 404, "unknown_route", "/grafana/nothing", "/query", "/tag-keys")
        assert_error(client.get("/grafana/query"), 405, "method_not_allowed", "POST")


def test_what_metrics_allows_includes_the_exposition_of_the_service(recorded_engine: Engine) -> None:
    with serving(recorded_engine.url) as client:
        answer = client.options("/metrics")
        assert client.get("/metrics").status_code == 200

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


def test_a_host_that_does_not_ask_gets_no_datasource(recorded_engine: Engine) -> None:
    with hosted(recorded_engine) as client:
        assert client.post("/query", json=UP).json() == {"host": "query"}
        assert client.post("/grafana/query", json=UP).json() == {"host": "grafana/query"}
        assert client.get("/").json() == {"host": "home"}


def test_the_schema_names_every_route_once(recorded_engine: Engine) -> None:
    with hosted(recorded_engine, json_datasource="/grafana", prometheus_api=None) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = client.get("/openapi.json").json()["paths"]

    assert {f"/grafana{path}" for path in ["/", *PATHS]} <= paths.keys()
    assert paths["/grafana/query"].keys() == {"post"}


def test_bad_settings_explain_themselves_in_the_hosts_panels() -> None:
    app = FastAPI()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with setup_prometheus_routes(app, prometheus_url="nonsense", json_datasource="/grafana"):
            yield

    app.router.lifespan_context = lifespan
    with TestClient(app) as client:
        assert_error(client.get("/grafana"), 422, "misconfigured", "PROMETHEUS_URL")
        assert_error(client.post("/grafana/query", json=UP), 422, "misconfigured", "PROMETHEUS_URL")


# --------------------------------------------------------------------------- tokens


@pytest.fixture(scope="module")
def closed(recorded_engine: Engine) -> Iterator[TestClient]:
    with serving(recorded_engine.url, api_tokens=("secret",)) as client:
        yield client


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}], ids=["no token", "a wrong one"])
@pytest.mark.parametrize("path", PATHS)
def test_no_route_answers_without_a_token(closed: TestClient, path: str, headers: dict[str, str]) -> None:
    response = closed.post(path, json=UP, headers=headers)

    assert_error(response, 401, "unauthorized", "Authorization: Bearer")
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_neither_does_save_and_test(closed: TestClient) -> None:
    assert_error(closed.get("/"), 401, "unauthorized")


@pytest.mark.parametrize("path", PATHS)
def test_a_token_opens_every_route(closed: TestClient, path: str) -> None:
    response = closed.post(path, json=UP, headers={"Authorization": "Bearer secret"})

    assert response.status_code == 200
    assert closed.get("/", headers={"Authorization": "Bearer secret"}).status_code == 200


# --------------------------------------------------------------------------- other origins


def test_27_the_browsers_question_is_answered_when_configured(recorded_engine: Engine) -> None:
    with serving(recorded_engine.url, cors_origins=("http://grafana.example",), api_tokens=("secret",)) as client:
        response = replay(client, "27")
        answered = client.post(
            "/query", json=UP, headers={"Origin": "http://grafana.example", "Authorization": "Bearer secret"}
        )
        refused = client.post("/query", json=UP, headers={"Origin": "http://grafana.example"})

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "http://grafana.example"
    assert response.headers["access-control-allow-credentials"] == "true"
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-grafana-device-id"))
    for found in (answered, refused):
        assert found.headers["access-control-allow-origin"] == "http://grafana.example"
        assert "Origin" in found.headers["vary"]
    assert (answered.status_code, refused.status_code) == (200, 401)


@pytest.mark.parametrize(
    "origin", ["http://grafana.example:3001", "https://grafana.example:3000", "http://evil", "null"]
)
def test_only_exact_origins_are_let_in(recorded_engine: Engine, origin: str) -> None:
    with serving(recorded_engine.url, cors_origins=(ORIGIN,)) as client:
        preflight = client.options("/query", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        plain = client.post("/query", json=UP, headers={"Origin": origin})

    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in plain.headers


def test_nobody_is_let_in_by_default(client: TestClient) -> None:
    preflight = client.options("/query", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})
    plain = client.post("/query", json=UP, headers={"Origin": ORIGIN})

    assert not [name for found in (preflight, plain) for name in found.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origins", ["*", "grafana.example", "http://grafana.example/", "http://*.example"])
def test_an_origin_that_is_none_stops_the_start(origins: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        Settings(cors_origins=origins)
