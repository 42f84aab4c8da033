"""Heads and bodies that are refused, in a surface's words."""

import json
from typing import Any

import pytest

from tests.server.service import ServiceProcess, read_to_end, served

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def service() -> Any:
    with served(body_timeout=0.3, api_tokens="right") as found:
        yield found


def answer_of(raw: bytes) -> tuple[int, dict[str, Any]]:
    """Status and document of an answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "hosts",
    [b"", b"Host:\r\n", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n"],
    ids=["none", "empty", "two", "the same twice"],
)
@pytest.mark.parametrize("path", [b"/api/v1/query?query=1", b"/livez"])
def test_a_request_names_one_host(service: ServiceProcess, hosts: bytes, path: bytes) -> None:
    """attack.md, Low: missing or double Host accepted."""
    before = service_refusals(service, "host")
    status, document = answer_of(service.ask(b"GET %b HTTP/1.1\r\n%b\r\n" % (path, hosts)))

    assert status == 400
    assert "exactly one host" in document["error"]
    assert ("errorType" in document) == path.startswith(b"/api")
    assert service_refusals(service, "host") == before + 1


def test_http_1_0_needs_no_host(service: ServiceProcess) -> None:
    assert service.ask(b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 ")


def test_a_long_url_is_told_about_post(service: ServiceProcess) -> None:
    """attack.md H1: one endless URL takes quadratic time."""
    long = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
    status, envelope = answer_of(service.ask(long % (b"/api/v1/query?query=" + b"a" * 62_000)))
    assert (status, envelope["errorType"]) == (414, "bad_data")
    assert "POST" in envelope["error"]

    status, document = answer_of(service.ask(long % (b"/prometheus/metrics/summary?category=" + b"a" * 62_000)))
    assert (status, document["code"]) == (414, "url_too_long")

    # Beyond the parser's own limit there is no sentence.
    assert service.ask(long % (b"/" + b"a" * 70_000)).startswith(b"HTTP/1.1 414 ")
    assert service.ask(b"this is not HTTP\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert service_refusals(service, "url_length") == 2


def test_a_url_that_is_long_enough_for_a_query_is_answered() -> None:
    with served() as service:
        query = "1" + "%2B1" * 14_000
        # By the upstream, which is not there.
        assert service.get(f"/api/v1/query?query={query}").status_code == 503


@pytest.mark.parametrize("path", [b"/api/v1/query", b"/query"])
def test_a_body_that_does_not_come_is_not_waited_for(service: ServiceProcess, path: bytes) -> None:
    """attack.md H2: slow bodies are never timed out."""
    before = service_refusals(service, "body_time")
    token = b"Authorization: Bearer right\r\n"
    request = b"POST %b HTTP/1.1\r\nHost: x\r\n%b%bContent-Length: 100\r\n\r\nq" % (path, FORM, token)
    raw = service.ask(request)
    status, document = answer_of(raw)

    assert status == 408
    assert b"BODY_TIMEOUT" in raw
    assert ("errorType" in document) == path.startswith(b"/api")
    assert b"connection: close" in raw
    assert service_refusals(service, "body_time") == before + 1


@pytest.mark.parametrize("path", [b"/api/v1/query", b"/query"])
def test_a_body_that_says_it_is_too_large_is_not_read(service: ServiceProcess, path: bytes) -> None:
    before = service_refusals(service, "body_size")
    request = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" % path
    status, document = answer_of(service.ask(request))

    assert status == 413
    assert "MAX_BODY_BYTES" in document["error"]
    assert ("errorType" in document) == path.startswith(b"/api")
    assert service_refusals(service, "body_size") == before + 1


def test_who_is_refused_before_the_body_is_read_loses_the_connection(service: ServiceProcess) -> None:
    with service.connect() as connection:
        connection.sendall(b"POST /query HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")

        raw = read_to_end(connection)
    assert raw.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in raw


def test_a_token_in_trailers_is_none(service: ServiceProcess) -> None:
    """attack.md, Low: `Authorization` accepted as a chunked trailer."""
    head = b"POST /api/v1/labels HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + FORM
    trailing = b"Trailer: Authorization\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer right\r\n\r\n"
    proper = b"Authorization: Bearer right\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

    assert answer_of(service.ask(head + trailing))[0] == 401
    assert answer_of(service.ask(head + proper))[0] == 503


def test_the_server_is_not_told(service: ServiceProcess) -> None:
    """attack.md, Low: a Server header with the server's name."""
    for path in (b"/livez", b"/nowhere", b"/" + b"a" * 62_000):
        raw = service.ask(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
        assert raw.lower().count(b"\r\nserver:") == 1
        assert b"\r\nserver: gatewayz-metrics\r\n" in raw


def service_refusals(service: ServiceProcess, reason: str) -> float:
    """What the service counted; it wants a token for that."""
    raw = service.ask(
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer right\r\n\r\n"
    ).decode()
    name = f'gatewayz_metrics_server_refusals_total{{reason="{reason}"}} '
    return float(raw.partition(name)[2].partition("\n")[0])
