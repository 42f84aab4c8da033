"""Connections to the upstream: their age, their certificates, and what is said when a handshake fails."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from gatewayz_metrics import ConfigurationError, Settings
from gatewayz_metrics.errors import ConnectionLost, TlsFailed
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamClient
from gatewayz_metrics.watched_files import FileWatcher

from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import Exchange, FakeUpstream
from tests.support.readings import values_of
from tests.support.waiting import reach

QUERY = 'label_replace(vector(1),"_part","a","","")'


def client_of(url: str, **options: Any) -> UpstreamClient:
    return UpstreamClient(Settings(prometheus_url=url, **options), Telemetry())


def asked(url: str, **options: Any) -> None:
    async def ask() -> None:
        async with client_of(url, **options) as upstream:
            await upstream.instant(QUERY)

    asyncio.run(ask())


# --------------------------------------------------------------------------- age


def test_a_name_that_moved_is_followed_under_steady_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    """M10: a kept connection is used for so long only, and then the name is looked up again."""
    places = {"moving.example": "127.0.0.1"}
    look_up = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return look_up(places.get(name, name), *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    async def story(port: int, there: FakeUpstream) -> None:
        async with client_of(f"http://moving.example:{port}", prometheus_connection_age=0.2) as upstream:
            await upstream.instant(QUERY)
            places["moving.example"] = "127.0.0.2"
            while not there.requests:
                await upstream.instant(QUERY)
                await asyncio.sleep(0.01)

    with FakeUpstream(fakes.healthy) as here:
        port = int(here.url.rpartition(":")[2])
        with FakeUpstream(fakes.healthy, listens_on=("127.0.0.2", port)) as there:
            asyncio.run(asyncio.wait_for(story(port, there), 60))

    assert here.requests


def test_a_request_under_way_ends_before_its_old_connection_is_closed() -> None:
    seen = []

    def slowly(exchange: Exchange) -> None:
        seen.append(exchange.connection.getpeername())
        if len(seen) == 1:
            while len(seen) < 3 and exchange.wait(0.01):
                pass
        fakes.healthy(exchange)

    async def story(url: str) -> tuple[int, int]:
        async with client_of(url, prometheus_connection_age=0.01) as upstream:
            slow = asyncio.create_task(upstream.instant(QUERY))
            await reach(lambda: bool(seen))
            old = upstream._connections._current.client
            await asyncio.sleep(0.02)
            await upstream.instant(QUERY)
            retired = len(upstream._connections._retired)
            await upstream.instant(QUERY)
            vector = await slow
            await reach(lambda: old.is_closed)
            return retired, len(values_of(vector))

    with FakeUpstream(slowly) as fake:
        assert asyncio.run(story(fake.url)) == (1, 1)
    assert len(set(seen)) >= 2


def test_young_connections_are_kept() -> None:
    async def story(url: str) -> int:
        async with client_of(url) as upstream:
            clients = set()
            for _ in range(5):
                await upstream.instant(QUERY)
                clients.add(upstream._connections._current.client)
            return len(clients)

    with FakeUpstream(fakes.healthy) as fake:
        assert asyncio.run(story(fake.url)) == 1


# --------------------------------------------------------------------------- client certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, host: str = "127.0.0.1", **certificate: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, **certificate).configure_cert(context)
    return context


@pytest.fixture
def strict(authority: trustme.CA) -> Iterator[FakeUpstream]:
    """An upstream that requires a certificate of its authority."""
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    with FakeUpstream(fakes.healthy, context) as fake:
        yield fake


def write_certificate(authority: trustme.CA, folder: Path, name: str = "gatewayz") -> dict[str, Path]:
    """The settings of a client that trusts an authority and shows a certificate of it."""
    ca, cert, key = (folder / f"{part}.pem" for part in ("ca", "cert", "key"))
    issued = authority.issue_cert(name)
    authority.cert_pem.write_to_path(str(ca))
    cert.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    return {"prometheus_ca_file": ca, "prometheus_cert_file": cert, "prometheus_key_file": key}


def test_a_client_certificate_is_shown(authority: trustme.CA, strict: FakeUpstream, tmp_path: Path) -> None:
    """M8: mTLS towards the upstream."""
    asked(strict.url, **write_certificate(authority, tmp_path))

    assert len(strict.requests) == 1


def test_certificate_and_key_may_stand_in_one_file(authority: trustme.CA, strict: FakeUpstream, tmp_path: Path) -> None:
    files = write_certificate(authority, tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(files["prometheus_cert_file"].read_bytes() + files["prometheus_key_file"].read_bytes())
    asked(strict.url, prometheus_ca_file=files["prometheus_ca_file"], prometheus_cert_file=both)

    assert len(strict.requests) == 1


def test_a_renewed_certificate_is_used_for_new_connections(
    authority: trustme.CA, strict: FakeUpstream, tmp_path: Path
) -> None:
    """M8: rotated without a restart, and a pair that does not fit together yet changes nothing."""
    stranger = trustme.CA()
    files = write_certificate(stranger, tmp_path)
    authority.cert_pem.write_to_path(str(files["prometheus_ca_file"]))

    async def story() -> list[str]:
        async with client_of(strict.url, **files) as upstream:
            watcher = FileWatcher(upstream.watched_files)
            found = [await outcome(upstream)]
            issued = authority.issue_cert("gatewayz")
            files["prometheus_cert_file"].write_bytes(issued.cert_chain_pems[0].bytes())
            await watcher.look()
            found.append(await outcome(upstream))
            files["prometheus_key_file"].write_bytes(issued.private_key_pem.bytes())
            await watcher.look()
            found.append(await outcome(upstream))
            await watcher.aclose()
            return found

    assert asyncio.run(story()) == ["refused", "refused", "ok"]


async def outcome(upstream: UpstreamClient) -> str:
    try:
        await upstream.instant(QUERY)
    except (TlsFailed, ConnectionLost):  # as the alert comes, or the end before it
        return "refused"
    return "ok"


@pytest.mark.parametrize(
    "fault", ["no key", "another key", "no certificate", "an absent file", "a key with a password"]
)
def test_a_certificate_that_cannot_be_used_stops_the_start(authority: trustme.CA, fault: str, tmp_path: Path) -> None:
    files = write_certificate(authority, tmp_path)
    match fault:
        case "no key":
            del files["prometheus_key_file"]
        case "another key":
            files["prometheus_key_file"].write_bytes(authority.issue_cert("x").private_key_pem.bytes())
        case "no certificate":
            files["prometheus_cert_file"].write_text("nothing")
        case "an absent file":
            files["prometheus_key_file"].unlink()
        case "a key with a password":
            key = load_pem_private_key(files["prometheus_key_file"].read_bytes(), None)
            secret = BestAvailableEncryption(b"password")
            files["prometheus_key_file"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(ConfigurationError, match=r"PROMETHEUS_(CERT|KEY)_FILE") as caught:
        asked("https://127.0.0.1:9", **files)

    assert "BEGIN" not in caught.value.sentence


# --------------------------------------------------------------------------- causes

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
HANDSHAKES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "expired": ({"not_after": LONG_AGO, "not_before": LONG_AGO - datetime.timedelta(1)}, True, "has expired"),
    "unknown authority": ({}, False, "signed by an unknown authority"),
    "another host": ({"host": "prometheus.example"}, True, "for another host"),
}


@pytest.mark.parametrize("case", HANDSHAKES)
def test_the_cause_of_a_failed_handshake_is_named(
    authority: trustme.CA, case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """M8: expired, unknown CA and wrong host are told apart, in the sentence and in the log."""
    certificate, is_trusted, cause = HANDSHAKES[case]
    ca = tmp_path / "ca.pem"
    (authority if is_trusted else trustme.CA()).cert_pem.write_to_path(str(ca))
    with (
        FakeUpstream(fakes.healthy, server_context(authority, **certificate)) as fake,
        pytest.raises(TlsFailed) as caught,
    ):
        asked(fake.url, prometheus_ca_file=ca)

    assert cause in caught.value.sentence
    assert cause in caplog.text


def test_a_server_that_wants_a_certificate_is_named_so(authority: trustme.CA, tmp_path: Path) -> None:
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    # In TLS 1.3 the alert comes after the handshake, where a connection that is broken off may swallow it.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    with FakeUpstream(fakes.healthy, context) as fake, pytest.raises(TlsFailed, match="wants a client certificate"):
        asked(fake.url, prometheus_ca_file=ca)


def test_a_server_without_tls_is_named_so() -> None:
    with FakeUpstream(fakes.healthy) as fake, pytest.raises(TlsFailed, match="it does not speak TLS there"):
        asked(fake.url.replace("http:", "https:"))
