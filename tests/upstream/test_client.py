"""The client on real connections: what it refuses to do, when it tries again, what it keeps within bounds."""

import asyncio
import socket
import ssl
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from gatewayz_metrics import Settings
from gatewayz_metrics.errors import (
    AnswerTooLarge,
    ConfigurationError,
    QueryRefused,
    TimedOut,
    TlsFailed,
    Unreachable,
    UpstreamError,
)
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamClient
from gatewayz_metrics.upstream.response import Vector

from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import Exchange, FakeUpstream, answering, head, in_turn
from tests.support.readings import values_of
from tests.support.waiting import wait_until

# Linux' list of connections, and how it writes the state of one whose first packet has had no answer.
_CONNECTIONS, _SYN_SENT = Path("/proc/net/tcp"), "02"
QUERY = 'label_replace(vector(1),"_part","a","","")'

pytestmark = pytest.mark.usefixtures("http_library")


def asked(url: str, times: int = 1, **options: Any) -> Vector:
    """The last of some answers of one client."""

    async def ask() -> Vector:
        async with UpstreamClient(Settings(prometheus_url=url, **options), Telemetry()) as upstream:
            for _ in range(times - 1):
                await upstream.instant(QUERY)
            return await upstream.instant(QUERY)

    return asyncio.run(ask())


def test_a_compressed_answer_is_unpacked() -> None:
    with FakeUpstream(fakes.good_gzip) as fake:
        answer = asked(fake.url, prometheus_gzip=True)

    assert values_of(answer) == ["1.5"]


def test_a_proxy_of_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream(fakes.healthy) as fake, FakeUpstream(fakes.healthy) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        asked(fake.url)

    assert len(fake.requests) == 1
    assert proxy.requests == []


# --------------------------------------------------------------------------- unusual, but right

BODY = fakes.vector_body([({"_part": "a"}, "1")])
CHUNK = b"%x" % len(BODY)


@pytest.mark.parametrize(
    "answer",
    [
        head("200 OK", len(BODY), X_Letters="\u00ff\u00e4") + BODY,
        b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
        b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(BODY) + BODY,
        b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.1 200\r\n\r\n" + BODY,
        b"HTTP/1.1 100 Continue\r\n\r\n" + head("200 OK", len(BODY)) + BODY,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head("200 OK", len(BODY)) + BODY,
        head("200 OK", None, Transfer_Encoding="chunked") + CHUNK + b";a=b\r\n" + BODY + b"\r\n0\r\nX-Late: 1\r\n\r\n",
        head("200 OK", len(BODY), **{f"X_{number}": "a" for number in range(90)}) + BODY,
        head("200 OK", len(BODY), X_Long="a" * 60_000) + BODY,
        head("200 OK", len(BODY), Set_Cookie="\u00ff=;;,") + BODY,
    ],
    ids=[
        "letters beyond ASCII",
        "a folded header",
        "bare line ends",
        "HTTP/1.0",
        "an end for a length",
        "100 first",
        "103 first",
        "chunks with extras",
        "90 headers",
        "a long header",
        "an odd cookie",
    ],
)
def test_an_answer_in_an_unusual_form_is_read(answer: bytes) -> None:
    with FakeUpstream(lambda exchange: exchange.send(answer)) as fake:
        assert values_of(asked(fake.url)) == ["1"]

    assert len(fake.requests) == 1


# --------------------------------------------------------------------------- trying again, or not


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

    assert len(values_of(answer)) == 1
    assert len(fake.requests) == 3


def test_a_lost_connection_is_replaced_once() -> None:
    with FakeUpstream(in_turn(fakes.reset_mid_body, fakes.healthy)) as fake:
        assert len(values_of(asked(fake.url))) == 1
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


@pytest.mark.parametrize("slow", [fakes.hang, fakes.drip], ids=["hang", "drip"])
def test_the_deadline_holds_for_a_request_that_had_to_connect(slow: Callable[[Exchange], None]) -> None:
    with FakeUpstream(slow) as fake, pytest.raises(TimedOut):
        asked(fake.url, prometheus_timeout=0.3)


def test_a_connection_that_does_not_come_about_is_not_waited_for() -> None:
    # Its queue takes the connection, and nobody answers the greeting of TLS. Without the limit this ends by pytest's.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Unreachable, match=r"within 0\.2 s, as PROMETHEUS_CONNECT_TIMEOUT says"):
            asked(f"https://127.0.0.1:{port}", prometheus_connect_timeout=0.2, prometheus_timeout=300)


@pytest.mark.skipif(not _CONNECTIONS.exists(), reason="only Linux lists connections there, and drops packets so")
@pytest.mark.usefixtures("shipped_limits")
def test_a_lost_packet_costs_a_second_and_not_the_answer() -> None:
    """Linux drops the first packet of a connection for which a listener has no room."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ThreadPoolExecutor(1) as pool:
        port = listener.getsockname()[1]
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            answer = pool.submit(asked, f"http://127.0.0.1:{port}")
            wait_until(lambda: count_unanswered(port) == 2)
        with FakeUpstream(fakes.healthy, listener=listener):
            assert values_of(answer.result()) == ["1.5"]


def count_unanswered(port: int) -> int:
    """Connections to a port of this machine whose first packet has had no answer."""
    rows = [line.split() for line in _CONNECTIONS.read_text("ascii").splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == _SYN_SENT for row in rows)


def test_a_caller_that_goes_away_is_no_failure_of_the_upstream() -> None:
    async def give_up(url: str) -> str:
        telemetry = Telemetry()
        async with UpstreamClient(Settings(prometheus_url=url), telemetry) as upstream:
            for _ in range(8):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(upstream.instant(QUERY), 0.05)
            upstream.health.breaker.check()
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
                asked(fake.url, max_response_bytes=size, prometheus_gzip=True)
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

    assert len(values_of(answer)) == 1


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
