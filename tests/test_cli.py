"""The installed command, as its users start and end it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import uvloop
from gatewayz_demo import engines
from gatewayz_metrics import Settings
from gatewayz_metrics.server.listener import bind_socket

from tests.support.command import COMMAND, ended, finished, running
from tests.support.engine import Engine
from tests.support.server import listening
from tests.support.waiting import wait_until

# The command where nothing of the demo can be imported and fcntl does not exist, as on Windows.
WITHOUT_DEMO = [
    sys.executable,
    "-c",
    "import sys; sys.modules |= {'fcntl': None, 'gatewayz_demo': None}; from gatewayz_metrics.cli import run; run()",
]


def finished_without_demo(*words: str) -> tuple[int, str]:
    return ended([*WITHOUT_DEMO, *words], {})


def test_serve_answers_and_ends_in_good_order(prometheus: Engine) -> None:
    with running("serve", PROMETHEUS_URL=prometheus.url) as (process, url):
        wait_until(lambda: httpx.get(f"{url}/readyz").json() == {"status": "ok"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_demo_uses_the_upstream_that_is_named(prometheus: Engine) -> None:
    with running("demo", PROMETHEUS_URL=prometheus.url) as (process, url):
        document = httpx.get(f"{url}/prometheus/metrics/summary?time=1760000000").json()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0

    assert "error" not in document


def test_demo_simulates_a_gateway_where_no_upstream_is_named(tmp_path: Path) -> None:
    named = {f"{name.upper()}_BIN": str(engines.find_engine(name).path) for name in ("prometheus", "promtool")}
    with running("demo", XDG_CACHE_HOME=str(tmp_path), **named) as (process, url):
        document = httpx.get(f"{url}/prometheus/metrics/summary?values=number").json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    assert "error" not in document
    assert document["metrics"]["http"]["total_requests"] > 0


def test_a_demo_without_an_engine_is_a_sentence() -> None:
    code, text = finished("demo", PORT="0", PROMETHEUS_BIN="/nowhere/prometheus")

    assert code == 1
    assert text.splitlines()[-1].startswith("gatewayz-metrics: PROMETHEUS_BIN names /nowhere/prometheus")
    assert "Traceback" not in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_demo_on_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """The history is written by a stand-in that finds the disk full, as promtool would."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "promtool").write_text("#!/bin/sh\nexec /bin/cp /dev/zero /dev/full\n", "utf-8")
    (folder / "promtool").chmod(0o755)
    named = {"PROMETHEUS_BIN": str(engines.find_engine("prometheus").path), "PROMTOOL_BIN": str(folder / "promtool")}
    code, text = finished("demo", "--minutes-of-history", "1", PORT="0", XDG_CACHE_HOME=str(tmp_path), **named)

    assert code == 1
    assert text.splitlines()[-1].startswith("gatewayz-metrics: The disk is full: Prometheus and its history take 1 GB")
    assert "Traceback" not in text


def test_the_other_commands_need_nothing_of_the_demo(prometheus: Engine) -> None:
    with running("serve", PROMETHEUS_URL=prometheus.url) as (_, url):
        _, report = finished_without_demo("check", url, "--json")
    code, table = finished_without_demo("catalogue")

    assert {"route": "docs", "what": "answers", "ok": True, "detail": "HTTP 200"} in json.loads(report)["findings"]
    assert code == 0
    assert "fastapi_requests_total" in table


def test_a_demo_where_it_cannot_run_names_the_other_way() -> None:
    code, text = finished_without_demo("demo")

    assert code == 1
    assert text.startswith("gatewayz-metrics: The simulated gateway cannot run here (")
    assert text.endswith(", or name a server: PROMETHEUS_URL=http://localhost:9090.\n")
    assert "on Windows run it in WSL or in Docker" in text


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "installed"])
def test_answers_come_without_nagles_delay(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """With the delay each answer on a kept connection takes 40 ms more."""

    async def accepted() -> int:
        """TCP_NODELAY of a connection that the socket of the service accepts."""
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        taken = bind_socket(Settings(host="127.0.0.1", port=0))
        async with await asyncio.start_server(look, sock=taken):
            _, writer = await asyncio.open_connection(*taken.getsockname())
            try:
                return await found
            finally:
                writer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(accepted()) != 0


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with listening() as taken:
        taken.listen()
        code, text = finished("serve", PORT=str(taken.getsockname()[1]))

    assert code == 1
    assert "cannot be used (Address already in use)" in text
    assert "PORT=" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PROMETHEUS_URL": "prometheus:9090"}, "PROMETHEUS_URL cannot be used: it must be a URL such as"),
        ({"PROMETHEUS_URL": "ftp://u:canary-s3cret@host"}, "PROMETHEUS_URL cannot be used"),
        ({"CACHE_TTL": "soon"}, "CACHE_TTL cannot be used"),
        ({"SELECTOR": 'env="a"} or up{'}, "SELECTOR cannot be used"),
        ({"CATALOGUE": "/nowhere.toml"}, "The catalogue /nowhere.toml cannot be read"),
        ({"PROMETHEUS_CA_FILE": "/nowhere.pem"}, "PROMETHEUS_CA_FILE cannot be used: /nowhere.pem"),
    ],
)
def test_a_setting_that_cannot_work_stops_the_start_with_a_sentence(environment: dict[str, str], sentence: str) -> None:
    code, text = finished("serve", **environment)

    assert code == 1
    assert text.count("\n") == 1
    assert sentence in text
    assert "canary" not in text


def test_an_open_public_service_is_warned_about() -> None:
    assert first_line(HOST="0.0.0.0") == (  # noqa: S104  # what is warned about
        "WARNING gatewayz_metrics.service: Serving the metrics routes below /prometheus/metrics, the Prometheus API at "
        "/api/v1, the JSON datasource at /. Who may ask: everybody, for there are no API_TOKENS."
    )


@pytest.mark.parametrize(
    ("environment", "who"),
    [
        ({}, "everybody, for there are no API_TOKENS."),
        ({"HOST": "0.0.0.0", "API_TOKENS": "a,b"}, "callers with one of 2 API_TOKENS."),  # noqa: S104  # as above
        (
            {"API_TOKENS": "a", "PROMETHEUS_ENGINE": "mimir", "TENANTS": '{"t": "x", "u": "y"}'},
            "callers with one of 1 API_TOKENS; on the Prometheus API also 2 TENANTS, for their own data.",
        ),
    ],
    ids=["here", "tokens", "tenants"],
)
def test_every_start_says_what_is_served_and_who_may_ask(environment: dict[str, str], who: str) -> None:
    line = first_line(**environment)

    assert line.startswith("INFO gatewayz_metrics.service: Serving the metrics routes below /prometheus/metrics, ")
    assert line.endswith(f"Who may ask: {who}")


def first_line(**environment: str) -> str:
    """The first line of the log of a service that starts, without its time."""
    env = os.environ | {"PORT": "0", "PYTHONUNBUFFERED": "1"} | environment
    with subprocess.Popen([*COMMAND, "serve"], env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline().strip()
        process.terminate()
        process.communicate()
    return line.partition(" ")[2]


def test_the_catalogue_is_printed_as_a_table() -> None:
    code, text = finished("catalogue")

    assert code == 0
    assert "fastapi_requests_total" in text
    assert 'sum(fastapi_requests_total{aggregated_by=""})' in text


def test_a_catalogue_file_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("title = 3")
    code, text = finished("catalogue", str(path))

    assert code == 1
    assert f"The catalogue {path} is refused: title: Input should be a valid string." in text
