"""How the service begins and ends."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from gatewayz_demo import engines

from tests.server.service import NOWHERE, ServiceProcess, read_to_end, served
from tests.support.command import COMMAND, finished, running
from tests.support.fake_upstream import Exchange, FakeUpstream, answering
from tests.support.server import address, listening
from tests.support.usage import children
from tests.support.waiting import PATIENCE, wait_until

ASK = b"GET /api/v1/labels HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_port_of_another_service_is_a_sentence() -> None:
    with served() as service:
        code, text = finished("serve", PORT=str(service.port), PROMETHEUS_URL=NOWHERE)

    assert code == 1
    assert text == (
        f"gatewayz-metrics: Port {service.port} on 127.0.0.1 cannot be used (Address already in use); "
        "end what listens there or choose another port: --port 8001, or PORT=8001.\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_finished(number: signal.Signals) -> None:
    held = threading.Event()

    def hold(exchange: Exchange) -> None:
        held.wait()
        exchange.reply(b'{"status":"success","data":["a"]}')

    with ExitStack() as stack:
        upstream = stack.enter_context(FakeUpstream(hold))
        stack.callback(held.set)
        service = stack.enter_context(served(upstream.url, prometheus_timeout=60))
        connection = stack.enter_context(service.connect())
        connection.sendall(ASK)
        wait_until(lambda: len(upstream.requests) == 1)
        service.process.send_signal(number)
        wait_until(lambda: not service.is_listening())
        held.set()

        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")
        assert service.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("stuck", ["half a head", "half a body", "upstream", "reader"])
def test_what_is_stuck_is_broken_off_after_its_time(stuck: str) -> None:
    with stuck_client(stuck, shutdown_timeout=0.3) as service:
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("stuck", ["half a body", "upstream", "reader"])
def test_what_is_stuck_is_broken_off_at_the_second_signal(stuck: str) -> None:
    with stuck_client(stuck, shutdown_timeout=3600) as service:
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not service.is_listening())
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(PATIENCE) == 0


@contextmanager
def stuck_client(stuck: str, *, shutdown_timeout: float) -> Iterator[ServiceProcess]:
    """A service with one request that does not end by itself, whoever is to blame."""
    held = threading.Event()
    large = answering(b'{"status":"success","data":["%b"]}' % (b"a" * 20_000_000))
    requests = {
        "half a head": b"GET /livez HTT",
        "half a body": b"POST /query HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        "upstream": ASK,
        "reader": ASK,
    }
    times = {"prometheus_timeout": 300, "body_timeout": 3600, "write_timeout": 3600, "idle_timeout": 3600}

    def behave(exchange: Exchange) -> None:
        if stuck == "reader":
            large(exchange)
        else:
            held.wait()

    with ExitStack() as stack:
        upstream = stack.enter_context(FakeUpstream(behave))
        stack.callback(held.set)
        service = stack.enter_context(served(upstream.url, shutdown_timeout=shutdown_timeout, **times))
        connection = stack.enter_context(service.connect(receive_buffer=4096))
        connection.sendall(requests[stuck])
        if requests[stuck] == ASK:
            wait_until(lambda: len(upstream.requests) == 1)
        else:
            # Connections are accepted in turn, so the one before has been, too.
            assert service.get("/livez").status_code == 200
        yield service


def test_sighup_does_not_end_the_service() -> None:
    """attack.md, Low: SIGHUP kills at once."""
    with served() as service:
        service.process.send_signal(signal.SIGHUP)
        assert service.process.stdout is not None
        assert "SIGHUP" in service.process.stdout.readline()
        assert service.get("/livez").status_code == 200


def test_a_full_disk_behind_standard_output_is_no_reason_to_fail() -> None:
    """attack.md, Low: start fails when stdout is full."""
    with listening() as free:
        port = address(free).partition(":")[2]
    env = os.environ | {"PORT": port, "PROMETHEUS_URL": NOWHERE}
    with Path("/dev/full").open("w") as full, subprocess.Popen([*COMMAND, "serve"], env=env, stdout=full) as process:
        try:
            wait_until(lambda: process.poll() is not None or answers(int(port)))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return read_to_end(connection).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and the end of a terminal reach the whole process group."""
    named = {f"{name.upper()}_BIN": str(engines.find_engine(name).path) for name in ("prometheus", "promtool")}
    with running("demo", XDG_CACHE_HOME=str(tmp_path), **named) as (process, url):
        assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200
        started = children(process.pid)
        os.killpg(process.pid, number)
        assert process.wait(PATIENCE) == 0

    assert started
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
