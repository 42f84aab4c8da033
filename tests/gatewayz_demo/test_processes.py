"""Real engines as children: ready, restarted on their port, and gone with their parent."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest
from gatewayz_demo import processes
from gatewayz_demo.errors import EngineFailed
from gatewayz_demo.processes import EngineProcess

from tests.support.waiting import wait_until

START = 1_700_000_000


def get(server: EngineProcess, path: str) -> str:
    connection = HTTPConnection(processes.HOST, server.port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((processes.HOST, port)) == 0


@pytest.mark.parametrize("engine", [processes.start_prometheus, processes.start_victoria_metrics])
def test_an_engine_comes_back_on_its_port(
    engine: Callable[[Path], AbstractContextManager[EngineProcess]], tmp_path: Path
) -> None:
    with engine(tmp_path / "data") as server:
        port, first = server.port, server.pid
        server.restart()
        second = server.pid
        server.kill()

        assert not is_listening(port)
        assert server.pid is None

        server.start()

        assert server.port == port
        assert is_listening(port)
        assert len({first, second, server.pid}) == 3
        assert server.url.endswith(f"://127.0.0.1:{port}")
    assert not is_listening(port)


def test_two_at_once_have_ports_of_their_own(tmp_path: Path) -> None:
    with (
        processes.start_victoria_metrics(tmp_path / "a") as one,
        processes.start_victoria_metrics(tmp_path / "b") as two,
    ):
        assert one.port != two.port


def test_backfilled_samples_can_be_queried(tmp_path: Path) -> None:
    text = tmp_path / "two.om"
    text.write_text(f'# TYPE x counter\nx_total{{a="b"}} 1 {START}\nx_total{{a="b"}} 31 {START + 15}\n# EOF\n')
    processes.backfill(text, tmp_path / "data")

    with processes.start_prometheus(tmp_path / "data") as server:
        answer = json.loads(get(server, f"/api/v1/query?time={START + 20}&query={quote('x_total[1m]')}"))

    assert answer["data"]["result"][0]["values"] == [[START, "1"], [START + 15, "31"]]


def test_backfill_passes_the_reason_on(tmp_path: Path) -> None:
    text = tmp_path / "broken.om"
    text.write_text("this is no exposition\n")

    with pytest.raises(EngineFailed, match=r"promtool refused .*broken\.om"):
        processes.backfill(text, tmp_path / "data")


def test_a_path_prefix_is_waited_for(tmp_path: Path) -> None:
    flags = ["--web.external-url=http://127.0.0.1/behind/a/proxy"]
    with processes.start_prometheus(tmp_path, extra_flags=flags) as server:
        assert "Ready" in get(server, "/behind/a/proxy/-/ready")


def test_an_engine_that_ends_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"prometheus ended with code \d.*unknown_setting"):
        processes.start_prometheus(tmp_path, "unknown_setting: 1\n")


def test_a_port_taken_meanwhile_is_waited_for(tmp_path: Path) -> None:
    with processes.start_victoria_metrics(tmp_path) as server:
        server.stop()
        with socket.create_server((processes.HOST, server.port)):
            thread = Thread(target=server.start)
            thread.start()
            wait_until(lambda: "already in use" in server.log.read_text())
        thread.join()

        assert is_listening(server.port)


def test_the_end_of_the_starting_thread_is_not_the_end_of_the_engine(tmp_path: Path) -> None:
    started: list[EngineProcess] = []
    thread = Thread(target=lambda: started.append(processes.start_victoria_metrics(tmp_path)))
    thread.start()
    thread.join()
    # The kernel would signal children when the thread is gone, which is after Python's own end of it.
    wait_until(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists())
    with started[0] as server:
        assert get(server, "/health") == "OK"


PARENT = """
import signal, sys, time
from pathlib import Path
from gatewayz_demo import processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
server = processes.start_prometheus(Path(sys.argv[1]))
print(server.port, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_engine_survives_its_parent(tmp_path: Path, signum: signal.Signals) -> None:
    root = str(Path(processes.__file__).parents[1])
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen(  # ourselves
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout
        port = int(parent.stdout.readline())
        alive = is_listening(port)
        parent.send_signal(signum)

    assert alive
    wait_until(lambda: not is_listening(port))
