"""The client towards the upstream: what it sends, what it refuses to do, when it tries again."""

import asyncio
import os
import ssl
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from gatewayz_metrics import Settings
from gatewayz_metrics.errors import (
    AnswerTooLarge,
    ConfigurationError,
    Misconfigured,
    PoolExhausted,
    QueryRefused,
    ServiceError,
    TimedOut,
    TlsFailed,
    Unreachable,
    UpstreamError,
)
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamClient
from gatewayz_metrics.upstream.response import Vector

from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import Exchange, FakeUpstream, answering, in_turn

QUERY = 'label_replace(vector(1),"_part","a","","")'


def asked(url: str, times: int = 1, *, between: Callable[[], object] = lambda: None, **options: Any) -> Vector:
    """The last of some answers of one client."""

    async def ask() -> Vector:
        async with UpstreamClient(Settings(prometheus_url=url, **options), Telemetry()) as upstream:
            for _ in range(times - 1):
                await upstream.instant(QUERY)
                between()
            return await upstream.instant(QUERY)

    return asyncio.run(ask())


# --------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize("prefix", ["", "/", "/prefix", "/prefix/", "/select/0/prometheus"])
def test_the_path_of_the_url_is_kept(prefix: str) -> None:
    with FakeUpstream(fakes.healthy) as fake:
        asked(fake.url + prefix)

    assert [request.target for request in fake.requests] == [f"{prefix.rstrip('/')}/api/v1/query"]


def test_a_query_travels_as_a_form_with_an_exact_time() -> None:
    async def ask(url: str) -> None:
        async with UpstreamClient(Settings(prometheus_url=url), Telemetry()) as upstream:
            await upstream.instant('up{a="ü&=+%\n"}', 1_760_000_000.1234)
            await upstream.instant("up")

    with FakeUpstream(fakes.no_series) as fake:
        asyncio.run(ask(fake.url))

    assert [request.form for request in fake.requests] == [
        {"query": ['up{a="ü&=+%\n"}'], "time": ["1760000000.123"]},
        {"query": ["up"]},
    ]


@pytest.mark.parametrize(
    ("userinfo", "options", "sent"),
    [
        ("", {}, []),
        ("ann:p%40ss%2Fw%3Ard@", {}, ["Basic YW5uOnBAc3MvdzpyZA=="]),
        ("", {"prometheus_username": "ann", "prometheus_password": "p@ss/w:rd"}, ["Basic YW5uOnBAc3MvdzpyZA=="]),
        ("url:url@", {"prometheus_username": "ann", "prometheus_password": "x"}, ["Basic YW5uOng="]),
        ("", {"prometheus_bearer_token": "abc"}, ["Bearer abc"]),
        ("", {"prometheus_headers": {"Authorization": "Api-Key k"}}, ["Api-Key k"]),
    ],
    ids=["nothing", "in the URL", "on their own", "both", "bearer", "a header"],
)
def test_credentials_arrive(userinfo: str, options: dict[str, Any], sent: list[str]) -> None:
    with FakeUpstream(fakes.healthy) as fake:
        asked(f"http://{userinfo}{fake.address}", **options)

    assert fake.requests[0].header("authorization") == sent


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_headers_arrive_whatever_the_method(method: str) -> None:
    with FakeUpstream(fakes.get_alone if method == "GET" else fakes.healthy) as fake:
        asked(fake.url, prometheus_headers={"X-Scope-OrgID": "team-a"}, prometheus_bearer_token="abc")
    last = fake.requests[-1]

    assert last.method == method
    assert last.header("x-scope-orgid") == ["team-a"]
    assert last.header("authorization") == ["Bearer abc"]
    assert last.header("accept-encoding") == ["identity"]


def test_compression_is_asked_for_when_configured() -> None:
    with FakeUpstream(fakes.good_gzip) as fake:
        answer = asked(fake.url, prometheus_gzip=True)

    assert fake.requests[0].header("accept-encoding") == ["gzip"]
    assert [sample.value for sample in answer.samples] == ["1.5"]


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")

    def rotate() -> None:
        file.write_text("second\n")
        os.utime(file, (1, 1))

    with FakeUpstream(fakes.healthy) as fake:
        asked(fake.url, 2, between=rotate, prometheus_bearer_token_file=file)

    assert [request.header("authorization") for request in fake.requests] == [["Bearer first"], ["Bearer second"]]


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two\nlines", b"t\xc3\xb6ken", b"nul\x00"])
def test_a_token_file_without_a_token_sends_nothing(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with FakeUpstream(fakes.healthy) as fake, pytest.raises(Misconfigured) as caught:
        asked(fake.url, prometheus_bearer_token_file=file)

    assert f"PROMETHEUS_BEARER_TOKEN_FILE {file}" in caught.value.sentence
    assert "lines" not in caught.value.sentence
    assert fake.requests == []


def test_a_proxy_of_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream(fakes.healthy) as fake, FakeUpstream(fakes.healthy) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        asked(fake.url)

    assert len(fake.requests) == 1
    assert proxy.requests == []


# --------------------------------------------------------------------------- trying again, or not


def test_post_gives_way_to_get_and_stays_away() -> None:
    with FakeUpstream(fakes.get_alone) as fake:
        asked(fake.url, 3)

    assert [request.method for request in fake.requests] == ["POST", "GET", "GET", "GET"]
    assert {request.query for request in fake.requests} == {QUERY}


def test_a_redirect_is_not_followed() -> None:
    with FakeUpstream(fakes.healthy) as elsewhere:
        target = f"{elsewhere.url}/latest/meta-data/"
        with FakeUpstream(answering(b"", "302 Found", Location=target)) as fake, pytest.raises(UpstreamError):
            asked(fake.url)

    assert len(fake.requests) == 1
    assert elsewhere.requests == []


def ends_afterwards(exchange: Exchange) -> None:
    """A good answer on a connection that dies right after it, unannounced."""
    fakes.healthy(exchange)
    exchange.keep = False


def test_a_connection_that_died_while_idle_is_replaced() -> None:
    with FakeUpstream(ends_afterwards) as fake:
        answer = asked(fake.url, 3)

    assert len(answer.samples) == 1
    assert len(fake.requests) == 3


def test_a_lost_connection_is_replaced_once() -> None:
    with FakeUpstream(in_turn(fakes.reset_mid_body, fakes.healthy)) as fake:
        assert len(asked(fake.url).samples) == 1
    with FakeUpstream(fakes.reset_mid_body) as broken, pytest.raises(UpstreamError):
        asked(broken.url)

    assert len(fake.requests) == 2
    assert len(broken.requests) == 2


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable Entity", "200 OK"])
def test_a_refusal_keeps_the_engines_words_but_not_all_of_them(status: str) -> None:
    body = fakes.error_body("bad_data" * 100, "no " * 5000)
    with FakeUpstream(answering(body, status)) as fake, pytest.raises(QueryRefused) as caught:
        asked(fake.url)

    assert "bad_data" in caught.value.sentence
    assert len(caught.value.sentence) < 700
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (httpx.ConnectError("[Errno -2] Name or service not known"), Unreachable),
        (httpx.ConnectTimeout(""), TimedOut),
        (httpx.PoolTimeout(""), PoolExhausted),
        (httpx.UnsupportedProtocol("unsupported"), Unreachable),
        (UnicodeEncodeError("idna", "x", 0, 1, "label too long"), Unreachable),
        (OSError(24, "Too many open files"), Unreachable),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), TlsFailed),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_whatever_the_transport_raises_is_one_of_our_errors(raised: Exception, error: type[ServiceError]) -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise raised

    async def ask() -> None:
        async with UpstreamClient(Settings(), Telemetry(), transport=httpx.MockTransport(broken)) as upstream:
            await upstream.instant(QUERY)

    with pytest.raises(error) as caught:
        asyncio.run(ask())

    assert type(caught.value) is error


@pytest.mark.parametrize("slow", [fakes.hang, fakes.drip], ids=["hang", "drip"])
def test_the_deadline_holds_for_a_request_that_had_to_connect(slow: Callable[[Exchange], None]) -> None:
    with FakeUpstream(slow) as fake, pytest.raises(TimedOut):
        asked(fake.url, prometheus_timeout=0.3)


def test_a_caller_that_goes_away_is_no_failure_of_the_upstream() -> None:
    async def give_up(url: str) -> str:
        telemetry = Telemetry()
        async with UpstreamClient(Settings(prometheus_url=url), telemetry) as upstream:
            for _ in range(8):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(upstream.instant(QUERY), 0.05)
            upstream._breaker.check()
        return telemetry.page().decode()

    with FakeUpstream(fakes.hang) as fake:
        page = asyncio.run(give_up(fake.url))

    assert 'upstream_requests_total{endpoint="query",outcome="cancelled"} 8.0' in page


# --------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("size", [2**16, 2**22])
def test_a_gzip_bomb_is_never_in_memory(size: int) -> None:
    with FakeUpstream(fakes.gzip_bomb) as fake:
        tracemalloc.start(1)
        try:
            with pytest.raises(AnswerTooLarge):
                asked(fake.url, max_response_bytes=size)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 4 * size + 8 * 2**20


# --------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def pem(authority: trustme.CA, folder: Path) -> Path:
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


def test_an_authority_of_ones_own_is_trusted(authority: trustme.CA, tls: ssl.SSLContext, tmp_path: Path) -> None:
    with FakeUpstream(fakes.healthy, tls) as fake:
        answer = asked(fake.url, prometheus_ca_file=pem(authority, tmp_path))

    assert len(answer.samples) == 1


def test_another_authority_is_not_trusted(tls: ssl.SSLContext, tmp_path: Path) -> None:
    with FakeUpstream(fakes.healthy, tls) as fake:
        with pytest.raises(TlsFailed):
            asked(fake.url, prometheus_ca_file=pem(trustme.CA(), tmp_path))
        with pytest.raises(TlsFailed):
            asked(fake.url)

    assert fake.requests == []


def test_another_hosts_certificate_is_not_trusted(authority: trustme.CA, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("prometheus.example").configure_cert(context)
    with FakeUpstream(fakes.healthy, context) as fake, pytest.raises(TlsFailed):
        asked(fake.url, prometheus_ca_file=pem(authority, tmp_path))


@pytest.mark.parametrize("url", ["http://host:9090/\x01", "http://\u2603\u2603:9090", "http://999.1.1.1"])
def test_a_url_that_cannot_be_asked_stops_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"PROMETHEUS_URL cannot be used: .*[^.]\.$"):
        asked(url)
