"""Who gets in, what strangers see, and what odd requests lead to."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.upstream.request import Endpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.fake_upstream import FakeUpstream

# The last byte of the second is a no-break space to whoever reads it as Latin-1.
OLD, NEW = "the-old-token", "the-n\u00e9w-token-voil\u00e0"
GOOD = {"Authorization": f"Bearer {OLD}"}
OPEN = {"/livez", "/readyz"}
PAGES = ["summary", "series?name=http.error_rate", *load().categories, "all", "docs"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(fakes.healthy) as fake:
        yield fake


@pytest.fixture(scope="module")
def closed(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with two tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        with serving(upstream.url, api_tokens=(OLD, NEW)) as client:
            yield client


def raw(
    client: TestClient,
    path: str,
    query: bytes = b"",
    method: str = "GET",
    *,
    authorization: Sequence[bytes] = (f"Bearer {OLD}".encode(),),
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request as a server hands it over: nothing encoded, decoded or tidied up."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"testserver"), *((b"authorization", value) for value in authorization), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "state": {},
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def ask() -> None:
        assert isinstance(client.app, FastAPI)
        await client.app(scope, receive, send)  # type: ignore[arg-type]  # plain dicts serve as messages

    assert client.portal is not None
    client.portal.call(ask)
    answered = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:])


# --------------------------------------------------------------------------- credentials

REFUSED: dict[str, list[bytes]] = {
    "no header": [],
    "empty": [b""],
    "the scheme alone": [b"Bearer"],
    "an empty token": [b"Bearer "],
    "wrong": [b"Bearer wrong"],
    "a beginning": [f"Bearer {OLD[:-1]}".encode()],
    "and more": [f"Bearer {OLD}x".encode()],
    "another case": [f"Bearer {OLD.upper()}".encode()],
    "not ASCII": ["Bearer \u2603".encode()],
    "not UTF-8": [b"Bearer \xff\xfe"],
    "the token in Latin-1": [f"Bearer {NEW}".encode("latin-1")],
    "Basic": [f"Basic {OLD}".encode()],
    "no scheme": [OLD.encode()],
    "two tokens": [f"Bearer {OLD}, Bearer {OLD}".encode()],
    "two headers": [f"Bearer {OLD}".encode()] * 2,
    "a good and a bad header": [f"Bearer {OLD}".encode(), b"Bearer wrong"],
}
ACCEPTED = {
    "old": f"Bearer {OLD}".encode(),
    "new": f"Bearer {NEW}".encode(),
    "lower case": f"bearer {OLD}".encode(),
    "upper case": f"BEARER {OLD}".encode(),
    "two spaces": f"Bearer  {OLD} ".encode(),
}


@pytest.mark.parametrize("path", ["/prometheus/metrics/summary", "/prometheus/metrics/docs", "/metrics"])
@pytest.mark.parametrize("case", REFUSED)
def test_whoever_has_no_token_is_told_the_same(closed: TestClient, case: str, path: str) -> None:
    status, headers, body = raw(closed, path, authorization=REFUSED[case])

    assert status == 401
    assert headers["www-authenticate"] == 'Bearer realm="gatewayz-metrics"'
    assert orjson.loads(body) == {
        "error": "This needs a token: send the header 'Authorization: Bearer <token>'.",
        "code": "unauthorized",
    }


@pytest.mark.parametrize("case", ACCEPTED)
def test_each_token_opens(closed: TestClient, case: str) -> None:
    status, _, _ = raw(closed, "/prometheus/metrics/summary", authorization=[ACCEPTED[case]])

    assert status == 200


KEYS: dict[str, tuple[list[tuple[bytes, bytes]], int]] = {
    "as it is": ([(b"x-api-key", OLD.encode())], 200),
    "in bytes": ([(b"x-api-key", NEW.encode())], 200),
    "with blanks around": ([(b"x-api-key", f" {OLD} ".encode())], 200),
    "and the same as a bearer": ([(b"x-api-key", OLD.encode()), (b"authorization", f"Bearer {OLD}".encode())], 200),
    "beside a proxy's own": ([(b"x-api-key", OLD.encode()), (b"authorization", b"Basic eDp5")], 200),
    "and another bearer": ([(b"x-api-key", OLD.encode()), (b"authorization", f"Bearer {NEW}".encode())], 401),
    "and a wrong bearer": ([(b"x-api-key", OLD.encode()), (b"authorization", b"Bearer wrong")], 401),
    "wrong, and a good bearer": ([(b"x-api-key", b"wrong"), (b"authorization", f"Bearer {OLD}".encode())], 401),
    "twice": ([(b"x-api-key", OLD.encode())] * 2, 401),
    "empty": ([(b"x-api-key", b"")], 401),
    "with a scheme": ([(b"x-api-key", f"Bearer {OLD}".encode())], 401),
    "wrong": ([(b"x-api-key", b"wrong")], 401),
    "in Latin-1": ([(b"x-api-key", NEW.encode("latin-1"))], 401),
}


@pytest.mark.parametrize("path", ["/prometheus/metrics/docs", "/api/v1/nothing", "/metrics"])
@pytest.mark.parametrize("case", KEYS)
def test_a_token_may_be_shown_as_a_key(closed: TestClient, case: str, path: str) -> None:
    headers, status = KEYS[case]

    found = raw(closed, path, authorization=[], headers=headers)[0]
    # Who is let in is told that one of the paths does not exist.
    assert found == (404 if "nothing" in path and status == 200 else status)


def test_a_token_in_the_query_string_does_not_open(closed: TestClient) -> None:
    for name in ("token", "access_token", "authorization"):
        assert closed.get("/prometheus/metrics/summary", params={name: OLD}).status_code == 401


def test_without_tokens_everybody_may_ask(upstream: FakeUpstream) -> None:
    with serving(upstream.url) as client:
        assert client.get("/prometheus/metrics/summary").status_code == 200
        assert client.get("/prometheus/metrics/summary", headers={"Authorization": "Basic x"}).status_code == 200


def test_every_route_but_the_probes_needs_a_token(closed: TestClient) -> None:
    paths = set(closed.get("/openapi.json", headers=GOOD).json()["paths"])
    pages = {f"/prometheus/metrics/{page}" for page in PAGES}
    statuses = {path: closed.get(path).status_code for path in paths | pages | {"/openapi.json"}}

    described = {f"/prometheus/metrics{page}" for page in ("", "/summary", "/{category}", "/all", "/docs")}
    assert described | OPEN | {"/metrics"} | set(Endpoint) <= paths
    # The page for people holds no number: it asks for them with the token that is typed into it.
    assert {path for path, status in statuses.items() if status != 401} == OPEN | {"/status"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    ["summary", "all", "docs", "nothing", "nothing/below", "", "%2e%2e", "summary/", "nothing%0Abelow"],
)
def test_nothing_below_the_prefix_is_told_to_strangers(closed: TestClient, method: str, path: str) -> None:
    answer = closed.request(method, f"/prometheus/metrics/{path}")

    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers


def test_a_stranger_is_not_told_that_a_parameter_is_wrong(closed: TestClient) -> None:
    assert closed.get("/prometheus/metrics/summary", params={"time": "x", "values": "y"}).status_code == 401


def test_a_stranger_costs_no_request(upstream: FakeUpstream, closed: TestClient) -> None:
    before = len(upstream.requests)
    for page in PAGES:
        closed.get(f"/prometheus/metrics/{page}")

    assert len(upstream.requests) == before


def test_a_head_request_is_answered_as_a_get(closed: TestClient) -> None:
    for page in PAGES:
        head, get = (closed.request(way, f"/prometheus/metrics/{page}", headers=GOOD) for way in ("HEAD", "GET"))

        assert head.status_code == 200
        assert head.headers["content-type"] == get.headers["content-type"]


# --------------------------------------------------------------------------- other methods, other paths


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_reading_is_possible(closed: TestClient, method: str) -> None:
    for page in PAGES:
        answer = closed.request(method, f"/prometheus/metrics/{page}", headers=GOOD)

        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"
        assert answer.json()["code"] == "method_not_allowed"


TRICKS = [
    "/prometheus/metrics/../../etc/passwd",
    "/prometheus/metrics/..",
    "/prometheus/metrics/./summary",
    "/prometheus/metrics//summary",
    "/prometheus/metrics/summary/..",
    "/prometheus/metrics/summary\r\nX-Injected: yes",
    "/prometheus/metrics/\x00",
    "/prometheus/metrics/%2e%2e%2fsummary",
    "/prometheus/metrics/..\\..\\summary",
    "/prometheus/metrics/\ufffd\u2603",
    "/prometheus/metrics/" + "a" * 100_000,
    "//prometheus/metrics/summary",
    "//evil.example/prometheus/metrics/summary",
    "/livez/../metrics",
    "/\r\nSet-Cookie: a=b",
    "",
]


@pytest.mark.parametrize("path", TRICKS, ids=lambda path: repr(path)[:40])
def test_an_odd_path_is_a_plain_no(closed: TestClient, path: str) -> None:
    status, headers, body = raw(closed, path)

    assert status == 404
    assert len(body) < 1000
    assert not {"x-injected", "set-cookie"} & set(headers)
    assert all("\r" not in value and "\n" not in value for value in headers.values())


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["/", "/prometheus/metrics/", "/prometheus/metrics/summary", "/metrics/"]),
    st.text(max_size=20),
    st.binary(max_size=40),
    st.sampled_from(["GET", "HEAD", "POST", "TRACE", "PROPFIND"]),
)
def test_no_request_is_our_fault(closed: TestClient, start: str, rest: str, query: bytes, method: str) -> None:
    path = start + rest.encode("utf-8", "replace").decode()
    status, headers, body = raw(closed, path, query, method)

    assert status < 500
    assert b'"detail"' not in body
    assert "server" not in headers


@pytest.mark.parametrize(
    "params",
    [
        {"time": "NaN"},
        {"time": "9" * 5000},
        {"time": "\u0661"},
        {"time": "2025-13-01T00:00:00Z"},
        {"values": "a\r\nb"},
        {"category": "\x00<script>"},
        {"category": "x" * 10_000},
    ],
    ids=lambda params: repr(params)[:30],
)
def test_a_bad_parameter_is_named_and_not_echoed_at_length(closed: TestClient, params: dict[str, str]) -> None:
    answer = closed.get("/prometheus/metrics/summary", params=params, headers=GOOD)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == "invalid_parameter"
    assert len(answer.content) < 700


@pytest.mark.parametrize("host", ["[", "a b", "evil.example", "\u2603"])
def test_an_odd_host_header_changes_nothing(closed: TestClient, host: str) -> None:
    for path in ("/prometheus/metrics/summary", "/nothing", "/metrics"):
        answer = closed.get(path, headers=[("Host", host.encode()), *GOOD.items()])  # type: ignore[arg-type]

        assert answer.status_code < 500
        assert "evil" not in answer.text
