"""The OpenAPI document is valid, and it says what the code reads and answers: attack.md's M9."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app, service, setup_prometheus_routes
from gatewayz_metrics.errors import (
    AnswerTooLarge,
    BadAnswer,
    CircuitOpen,
    LimitExceeded,
    NotServed,
    QueryRefused,
    RateLimited,
    ServiceError,
    TimedOut,
    TooBusy,
    UpstreamError,
)
from gatewayz_metrics.http.openapi import FORM, list_family
from gatewayz_metrics.json_datasource.routes import create_json_datasource_router
from gatewayz_metrics.metrics_api.routes import create_metrics_router
from gatewayz_metrics.operations.routes import create_operations_router
from gatewayz_metrics.prometheus_api.parameters import RequestParams
from gatewayz_metrics.prometheus_api.routes import create_prometheus_router
from gatewayz_metrics.prometheus_api.vocabulary import PARAMETERS
from gatewayz_metrics.security import TOKEN_SCHEMES
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.upstream.request import Endpoint
from gatewayz_metrics.upstream.response import Vector
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.datastructures import QueryParams

from tests.support.client import serving
from tests.support.fake_upstream import FakeUpstream, answering

TOKEN = "the-token"
CALLER = {"Authorization": f"Bearer {TOKEN}"}
UPSTREAM = Settings(prometheus_url="http://127.0.0.1:9")
OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (path, method, operation)
    for path, operations in create_app(UPSTREAM).openapi()["paths"].items()
    for method, operation in operations.items()
]


def name_operation(part: object) -> str | None:
    return part if isinstance(part, str) else ""


each_operation = pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=name_operation)


def read_document(**options: Any) -> dict[str, Any]:
    with serving(**options) as client:
        document: dict[str, Any] = client.get("/openapi.json", headers=CALLER).json()
    return document


def assert_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


# --------------------------------------------------------------------------- valid and complete


@pytest.mark.parametrize("tokens", [(), (TOKEN,)], ids=["open", "closed"])
def test_the_document_is_valid(tokens: tuple[str, ...]) -> None:
    assert_valid(read_document(api_tokens=tokens))


def test_every_route_that_answers_is_in_it() -> None:
    services = ServiceProvider(lambda telemetry: service.Service(UPSTREAM, telemetry))
    makers: list[Callable[[ServiceProvider], APIRouter]] = [
        create_metrics_router,
        create_operations_router,
        create_prometheus_router,
        create_json_datasource_router,
    ]
    routes = [route for make in makers for route in make(services).routes if isinstance(route, APIRoute)]
    answering_routes = {
        (route.path_format, method.lower())
        for route in routes
        if route.endpoint.__name__ != "refuse"
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
    }

    # The same page under a second path, and what FastAPI has in the document anyway.
    assert answering_routes - {("/prometheus/metrics/", "get")} <= {(path, method) for path, method, _ in OPERATIONS}


def test_exposition_text_is_no_json() -> None:
    paths = read_document()["paths"]

    for path in ("/metrics", "/prometheus/metrics/all", "/prometheus/metrics/{category}", "/prometheus/metrics/docs"):
        content = paths[path]["get"]["responses"]["200"]["content"]
        assert all(media.startswith(("text/", "application/openmetrics-text")) for media in content)


@each_operation
def test_every_answer_and_parameter_is_described(path: str, method: str, operation: dict[str, Any]) -> None:  # noqa: ARG001
    for status, answer in operation["responses"].items():
        assert answer["description"] != "Successful Response"
        assert ("content" in answer) == (status != "204")
    assert all(parameter["description"] for parameter in operation.get("parameters", ()))


# --------------------------------------------------------------------------- tokens


def test_what_needs_a_token_says_so() -> None:
    document = read_document(api_tokens=(TOKEN,))

    assert document["components"]["securitySchemes"] == TOKEN_SCHEMES
    with serving(api_tokens=(TOKEN,)) as client:
        for path, method, _ in OPERATIONS:
            secured = document["paths"][path][method]["security"] == [{name: []} for name in TOKEN_SCHEMES]
            assert (client.request(method, path).status_code == 401) == secured, path


def test_without_tokens_nothing_says_that_it_needs_one() -> None:
    assert "securitySchemes" not in read_document().get("components", {})


# --------------------------------------------------------------------------- parameters


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    body = b'{"status":"success","data":{"resultType":"matrix","result":[],"groups":[],"alerts":[],"version":"2"}}'
    with FakeUpstream(answering(body)) as fake:
        yield fake


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("endpoint", [endpoint for endpoint in Endpoint if PARAMETERS[endpoint]])
def test_declared_parameters_reach_the_upstream(upstream: FakeUpstream, endpoint: Endpoint, method: str) -> None:
    declared = declared_parameters(endpoint, method)
    if declared is None:
        pytest.skip("GET alone")
    values = {name: name for name in declared} | {"start": "1760000000", "end": "1760000600", "step": "60"}
    given = {name: values[name] for name in declared}
    with serving(upstream.url, cache_ttl=0) as client:
        before = len(upstream.requests)
        path = endpoint.path("job")
        send(client, method, path, given)
        asked = upstream.requests[before:]

    assert {name for request in asked for name in request.form} >= declared


@pytest.mark.parametrize("method", ["get", "post"])
def test_parameters_that_the_prometheus_api_reads_are_declared(
    upstream: FakeUpstream, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    note_reads(RequestParams, "get", read, monkeypatch)
    with serving(upstream.url) as client:
        for endpoint in Endpoint:
            read.clear()
            declared = declared_parameters(endpoint, method)
            if declared is not None:
                send(client, method, endpoint.path("job"), {"query": "up", "start": "1", "end": "2", "step": "1"})
                assert read <= declared, endpoint


def declared_parameters(endpoint: Endpoint, method: str) -> set[str] | None:
    operation = next((found for path, verb, found in OPERATIONS if (path, verb) == (endpoint, method)), None)
    if operation is None:
        return None
    if method == "post":
        return set(operation["requestBody"]["content"][FORM]["schema"]["properties"])
    return {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}


def note_reads(kind: type, method: str, read: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the name of every parameter that is read from now on."""
    original = getattr(kind, method)

    def note(query: object, name: str, *default: object) -> Any:
        read.add(name)
        return original(query, name, *default)

    monkeypatch.setattr(kind, method, note)


def send(client: TestClient, method: str, path: str, given: dict[str, str]) -> None:
    if method == "get":
        client.get(path, params=given)
    else:
        client.post(path, content=urlencode(given), headers={"Content-Type": FORM})


@pytest.mark.parametrize("page", ["", "/summary", "/series", "/all", "/docs", "/{category}"])
def test_the_parameters_of_a_metrics_route_are_those_that_it_reads(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    note_reads(QueryParams, "get", read, monkeypatch)
    note_reads(QueryParams, "getlist", read, monkeypatch)
    path = f"/prometheus/metrics{page}"
    operation = next(found for where, _, found in OPERATIONS if where == path)
    with serving() as client:
        # A value that no other test asks for: what was parsed before is remembered.
        client.get(path.format(category="system"), params={"name": "http.error_rate", "unseen": page})

    assert read == {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}


# --------------------------------------------------------------------------- statuses

MADE: dict[type[ServiceError], Callable[[], ServiceError]] = {
    AnswerTooLarge: lambda: AnswerTooLarge(1),
    BadAnswer: lambda: BadAnswer("why"),
    CircuitOpen: lambda: CircuitOpen(UpstreamError("down"), 1),
    LimitExceeded: lambda: LimitExceeded("Much", "MAX_SERIES", "1"),
    NotServed: lambda: NotServed(Endpoint.RULES, 404),
    QueryRefused: lambda: QueryRefused("bad_data", "no"),
    RateLimited: lambda: RateLimited(1),
    TimedOut: lambda: TimedOut(1),
    TooBusy: lambda: TooBusy(1),
}


def errors_below() -> Iterator[ServiceError]:
    """An error of every class that the surfaces may meet below them."""
    for kind in list_family([UpstreamError, QueryRefused, NotServed, LimitExceeded, TooBusy]):
        if kind in MADE:
            yield MADE[kind]()
        else:
            # Their own arguments say no more than a sentence.
            error = kind.__new__(kind)
            error.args = ("what happened",)
            yield error


class FailingUpstream:
    """An upstream that has one error for everything that may end so."""

    error: ServiceError

    def __init__(self, *_: object) -> None:
        pass

    async def instant(self, *_: object) -> Vector:
        # The client raises no others here, and no limit stands before it.
        if isinstance(self.error, UpstreamError | QueryRefused):
            raise self.error
        return Vector({})

    async def forward(self, *_: object) -> Any:
        raise self.error

    watched_files = ()

    async def check(self, *_: object) -> None:
        pass

    def watch(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


BODIES: dict[str, Any] = {
    "/search": {"target": "label_values(up, job)"},
    "/query": {"targets": [{"refId": "A", "target": "up"}]},
    "/variable": {"payload": {"target": "label_values(up, job)"}},
    "/annotations": {"annotation": {"name": "a", "query": "up"}},
    "/metric-payload-options": {"metric": "up", "name": "by"},
    "/tag-values": {"key": "job"},
}
ASKED = {"query": "up", "match[]": "up", "start": "1760000000", "end": "1760000060", "step": "60"}


@pytest.mark.parametrize("in_host", [False, True], ids=["stand-alone", "in a host"])
def test_every_error_below_the_surfaces_has_a_declared_status(in_host: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "UpstreamClient", FailingUpstream)
    undeclared: set[tuple[str, str, str, int]] = set()
    seen: set[int] = set()
    app = hosting() if in_host else create_app(UPSTREAM)
    paths = app.openapi()["paths"]
    for error in errors_below():
        monkeypatch.setattr(FailingUpstream, "error", error, raising=False)
        # A service for each error, which remembers no other.
        with TestClient(app) as client:
            for path, method, operation in walk(paths):
                answer = ask(client, path, method)
                seen.add(answer.status_code)
                if str(answer.status_code) not in operation["responses"]:
                    undeclared.add((method, path, type(error).__name__, answer.status_code))

    assert undeclared == set()
    assert seen >= ({200, 400, 404, 422} if in_host else {200, 400, 404, 422, 502, 503, 504})


def walk(paths: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in paths.items():
        for method, operation in operations.items():
            yield path, method, operation


def ask(client: TestClient, path: str, method: str) -> Any:
    """A request that is in order."""
    where = path.format(category="system", name="job")
    if method == "get":
        name = "http.error_rate" if path.endswith("/series") and "/api/" not in path else ""
        return client.get(where, params={"name": name, **ASKED})
    if "/api/v1/" in path:
        return client.post(where, content=urlencode(ASKED), headers={"Content-Type": FORM})
    return client.post(where, json=BODIES.get(path.removeprefix("/grafana"), {}))


# --------------------------------------------------------------------------- in a host


def hosting() -> FastAPI:
    """A host with a route of its own, and with everything of ours."""
    app = FastAPI()

    @app.get("/models/{name}")
    async def model(name: str, limit: int = 1) -> dict[str, int]:
        return {name: limit}

    setup_prometheus_routes(app, settings=UPSTREAM, prometheus_api="/prometheus", json_datasource="/grafana")
    return app


def test_the_document_of_a_host_stays_valid_and_its_own() -> None:
    document = hosting().openapi()
    plain = FastAPI()
    plain.router.routes[:] = [
        route for route in hosting().router.routes if getattr(route, "path", "") == "/models/{name}"
    ]

    assert_valid(document)
    assert document["paths"]["/models/{name}"] == plain.openapi()["paths"]["/models/{name}"]
    # Who may ask is not known before the settings are read, and the host has components of its own.
    assert document["components"] == plain.openapi()["components"]
    # No answer in a host is a 5xx.
    ours = [operation for path, _, operation in walk(document["paths"]) if path != "/models/{name}"]
    assert max(int(status) for operation in ours for status in operation["responses"]) == 422
