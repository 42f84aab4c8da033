"""`serve --workers N`: several processes that answer, count, forget, restart and end as one."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.server.service import NOWHERE, ServiceProcess, read_to_end, served
from tests.server.workers import Load, answered, fetch, runs, samples, sockets, workers
from tests.support.command import finished
from tests.support.fake_upstream import Exchange, FakeUpstream, Received, answering, vector_body
from tests.support.waiting import PATIENCE, wait_until

LABELS = answering(b'{"status":"success","data":["a"]}')
ONE = answering(vector_body([({}, "1")]))
ROUTE = "/prometheus/metrics"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    lists = ("/api/v1/labels", "/api/v1/metadata")
    with FakeUpstream(lambda exchange: (LABELS if exchange.request.path in lists else ONE)(exchange)) as found:
        yield found


@pytest.fixture(scope="module")
def service(upstream: FakeUpstream) -> Iterator[ServiceProcess]:
    """Two workers; tests leave two behind."""
    with served(upstream.url, workers=2) as found:
        yield found


def is_labels(request: Received) -> bool:
    return request.path == "/api/v1/labels"


def next_line(service: ServiceProcess, part: str) -> str:
    """The next line of the log that has a part."""
    assert service.process.stdout is not None
    return next(line for line in service.process.stdout if part in line)


def test_connections_are_spread_over_the_workers(service: ServiceProcess) -> None:
    both = workers(service)
    before = {pid: sockets(pid) for pid in both}
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(service.connect())
        wait_until(lambda: sum(sockets(pid) - before[pid] for pid in both) == 64)
        taken = [sockets(pid) - before[pid] for pid in both]

    # By chance alone fewer than 12 come once in a million times.
    assert len(taken) == 2
    assert min(taken) >= 12, taken


def test_metrics_are_the_sums_whoever_answers(service: ServiceProcess) -> None:
    before = answered(service, ROUTE)
    for _ in range(40):
        fetch(service, ROUTE)

    assert {answered(service, ROUTE) for _ in range(12)} == {before + 40}


def test_a_page_of_metrics_has_each_family_once(service: ServiceProcess) -> None:
    types = [line for line in fetch(service, "/metrics").splitlines() if line.startswith("# TYPE")]

    assert len(types) == len(set(types)) > 20
    # Each asks the upstream when it begins, and not only when nobody else has for a while.
    wait_until(lambda: samples(fetch(service, "/metrics"))["gatewayz_metrics_upstream_up"] == 1)


def test_a_purge_reaches_every_worker(upstream: FakeUpstream, service: ServiceProcess) -> None:
    def ask_both() -> int:
        """How many questions it costs the upstream to ask so often that each worker is asked."""
        before = len(upstream.requests)
        for _ in range(40):
            # It is kept for minutes.
            fetch(service, "/api/v1/metadata")
        return sum(request.path == "/api/v1/metadata" for request in upstream.requests[before:])

    assert [ask_both(), ask_both()] == [2, 0]
    assert json.loads(fetch(service, "/-/purge", "POST")) == {"status": "ok", "range_cache_bytes": 0}
    assert ask_both() == 2


def test_sighup_reaches_every_worker(service: ServiceProcess) -> None:
    service.process.send_signal(signal.SIGHUP)

    assert {next_line(service, "SIGHUP").rpartition(" ")[2] for _ in range(2)} == {"[worker='1']\n", "[worker='2']\n"}


def test_what_a_killed_worker_had_counted_stays(service: ServiceProcess) -> None:
    for _ in range(40):
        fetch(service, ROUTE)
    before, counted = workers(service), answered(service, ROUTE)
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(workers(service)) == 2 and workers(service) != before)

    assert {answered(service, ROUTE) for _ in range(6)} == {counted}
    line = next_line(service, "SIGKILL")
    assert re.search(rf"Worker [12] \(process {before[0]}\) was ended by SIGKILL\. Another takes its place now\.", line)


def test_counts_never_go_back_when_a_worker_is_killed_at_work(service: ServiceProcess) -> None:
    before = workers(service)
    with Load(service).running() as load:
        seen = [answered(service, ROUTE)]
        os.kill(before[1], signal.SIGKILL)
        while len(seen) < 12 or before[1] in workers(service) or len(workers(service)) < 2:
            with suppress(OSError, AssertionError):  # it was the killed one's
                seen.append(answered(service, ROUTE))
        load.goes_on()

    assert seen == sorted(seen)
    assert before[0] in workers(service)


def test_a_restart_fails_no_request(service: ServiceProcess) -> None:
    before = workers(service)
    counted = answered(service, ROUTE)
    with Load(service).running() as load:
        service.process.send_signal(signal.SIGUSR2)
        next_line(service, "All workers are replaced.")
        load.goes_on()

    assert load.failures == []
    assert len(workers(service)) == 2
    assert not set(before) & set(workers(service))
    assert answered(service, ROUTE) == counted + load.answers


def test_a_worker_that_is_killed_during_a_restart_has_one_successor(service: ServiceProcess) -> None:
    before = workers(service)
    service.process.send_signal(signal.SIGUSR2)
    next_line(service, "one after another")
    os.kill(before[-1], signal.SIGKILL)
    next_line(service, "All workers are replaced.")

    wait_until(lambda: len(workers(service)) == 2)
    assert not set(before) & set(workers(service))
    fetch(service, "/livez")


def test_a_worker_ends_with_its_supervisor() -> None:
    """Even where nobody could tell it to."""
    with served(workers=2) as service:
        both = workers(service)
        service.process.kill()

        assert len(both) == 2
        wait_until(lambda: not any(runs(pid) for pid in both))


def test_what_is_under_way_is_finished_by_every_worker() -> None:
    """A signal to the whole process group, as Ctrl-C sends it, reaches the workers through the supervisor alone."""
    held = threading.Event()

    def hold(exchange: Exchange) -> None:
        if is_labels(exchange.request):
            held.wait()
        LABELS(exchange)

    with ExitStack() as stack:
        upstream = stack.enter_context(FakeUpstream(hold))
        stack.callback(held.set)
        service = stack.enter_context(served(upstream.url, workers=2, prometheus_timeout=60))
        both = workers(service)
        connections = [stack.enter_context(service.connect()) for _ in range(12)]
        for connection in connections:
            connection.sendall(b"GET /api/v1/labels HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: sum(map(is_labels, upstream.requests)) == 2)
        os.killpg(service.process.pid, signal.SIGINT)
        wait_until(lambda: not service.is_listening())
        held.set()

        assert all(read_to_end(connection).startswith(b"HTTP/1.1 200 ") for connection in connections)
        assert service.process.wait(PATIENCE) == 0
        assert not any(runs(pid) for pid in both)


def test_what_is_stuck_is_broken_off_at_the_second_signal() -> None:
    held = threading.Event()

    def hold(_: Exchange) -> None:
        held.wait()

    with ExitStack() as stack:
        upstream = stack.enter_context(FakeUpstream(hold))
        stack.callback(held.set)
        service = stack.enter_context(served(upstream.url, workers=2, shutdown_timeout=3600, prometheus_timeout=300))
        both = workers(service)
        stack.enter_context(service.connect()).sendall(b"GET /api/v1/labels HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: any(map(is_labels, upstream.requests)))
        service.process.terminate()
        wait_until(lambda: not service.is_listening())
        service.process.terminate()

        assert service.process.wait(PATIENCE) == 0
        assert not any(runs(pid) for pid in both)


def test_what_is_wrong_is_said_once(tmp_path: Path) -> None:
    missing = {"API_TOKENS_FILE": str(tmp_path / "tokens"), "PORT": "0", "PROMETHEUS_URL": NOWHERE}

    assert finished("serve", "--workers", "2", **missing) == (
        1,
        f"gatewayz-metrics: API_TOKENS_FILE {tmp_path}/tokens cannot be read (No such file or directory).\n",
    )


def test_a_restart_reads_the_settings_again_or_leaves_all_as_it_is(tmp_path: Path) -> None:
    tokens, env = tmp_path / "tokens", tmp_path / ".env"
    tokens.write_text("old\n")
    with served(workers=2, api_tokens_file=tokens) as service:
        before = workers(service)
        env.write_text("MAX_POINTS=none\n")
        service.process.send_signal(signal.SIGUSR2)
        assert "MAX_POINTS cannot be used" in next_line(service, "Workers are left as they are")

        # Now the next worker is begun, and cannot serve.
        env.write_text("API_TOKENS=new\n")
        tokens.unlink()
        service.process.send_signal(signal.SIGUSR2)
        assert str(tokens) in next_line(service, "Workers are left as they are")
        assert workers(service) == before

        tokens.write_text("old\n")
        service.process.send_signal(signal.SIGUSR2)
        next_line(service, "All workers are replaced.")
        for token in ("old", "new"):
            answer = service.ask(f"GET /metrics HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.0 200 "), answer[:100]


def test_a_caller_has_no_larger_share_of_the_upstream() -> None:
    """Of 8 places a single process gives one caller 5, and keeps the others for whoever comes."""
    held = threading.Event()

    def hold(exchange: Exchange) -> None:
        if b"up" in exchange.request.body:
            held.wait()
        ONE(exchange)

    def places(service: ServiceProcess, state: str) -> float:
        found = samples(fetch(service, "/metrics"))
        return found.get(f'gatewayz_metrics_upstream_places{{kind="short",state="{state}"}}', 0)

    with ExitStack() as stack:
        upstream = stack.enter_context(FakeUpstream(hold))
        stack.callback(held.set)
        service = stack.enter_context(served(upstream.url, workers=2, prometheus_connections=8, prometheus_timeout=300))
        for number in range(32):
            connection = stack.enter_context(service.connect())
            connection.sendall(f"GET /api/v1/query?query=up%2B{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: places(service, "held") + places(service, "waiting") == 32)

        def asked() -> int:
            return sum(b"up" in request.body for request in upstream.requests)

        # What has a place may still be on its way.
        wait_until(lambda: asked() == places(service, "held"))
        assert asked() <= 5
