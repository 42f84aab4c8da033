"""The command in a terminal: it shows what it waits for, and Ctrl-C ends it at once, with one line."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatewayz_demo import engines

from tests.support import fake_upstream as fakes
from tests.support.command import COMMAND
from tests.support.fake_upstream import FakeUpstream
from tests.support.server import listening
from tests.support.terminal import terminal
from tests.support.waiting import wait_until

ENDED = (130, "Ended.")


@pytest.fixture
def hanging() -> Iterator[FakeUpstream]:
    with FakeUpstream(fakes.hang) as fake:
        yield fake


WAITING = {
    "check": (["check", "{url}"], "Asking {url}"),
    "check --watch": (["check", "{url}", "--watch", "1"], "Asking {url}"),
    "purge": (["purge", "{url}"], "Asking {url}"),
    "doctor": (["doctor", "--url", "{url}"], "Asking {url}"),
    "doctor, Grafana": (["doctor", "--url", "http://127.0.0.1:9", "--grafana", "{url}"], "Asking http://127.0.0.1:9"),
    "catalogue init": (["catalogue", "init", "--url", "{url}", "--out", "{folder}/out.toml"], "Reading names"),
}


@pytest.mark.parametrize("case", WAITING)
def test_who_waits_for_a_hanging_server_is_shown_and_can_end_it(
    hanging: FakeUpstream, tmp_path: Path, case: str
) -> None:
    words, shown = WAITING[case]
    typed = [word.format(url=hanging.url, folder=tmp_path) for word in words]
    with terminal([*COMMAND, *typed]) as found:
        found.wait_for(shown.format(url=hanging.url))
        # Seconds since it began.
        found.wait_for("0:00:0")
        wait_until(lambda: bool(hanging.requests))
        found.press_ctrl_c()
        assert (found.wait(), found.last_line()) == ENDED
        # The cursor is there again.
        assert found.text.count("\x1b[?25l") == found.text.count("\x1b[?25h") == 1
        assert "Traceback" not in found.text


@pytest.mark.parametrize("words", [["--version"], ["serve", "--port", "0"], ["catalogue"]], ids=" ".join)
def test_ctrl_c_is_heard_while_the_command_loads(tmp_path: Path, words: list[str]) -> None:
    """FastAPI alone takes a good part of a second."""
    # The first module of FastAPI waits; whatever has it loaded must hear of Ctrl-C.
    stuck = tmp_path / "fastapi"
    stuck.mkdir()
    (stuck / "__init__.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n", "utf-8")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with terminal([*COMMAND, *words], {"PYTHONPATH": path}) as found:
        found.wait_for("loading")
        found.press_ctrl_c()
        assert (found.wait(), found.last_line()) == ENDED
        assert "Traceback" not in found.text


def test_dashboards_of_a_catalogue_are_shown_being_made(tmp_path: Path) -> None:
    shop = Path(__file__).parent / "dashboards" / "shop.toml"
    with terminal([*COMMAND, "dashboards", "--catalogue", str(shop), "--out", str(tmp_path / "out")]) as found:
        found.wait_for("Making the dashboards of")
        found.press_ctrl_c()
        assert (found.wait(), found.last_line()) == ENDED
        assert "Traceback" not in found.text


def test_the_demo_shows_its_steps_and_then_its_greeting(tmp_path: Path) -> None:
    named = {f"{name.upper()}_BIN": str(engines.find_engine(name).path) for name in ("prometheus", "promtool")}
    with listening() as free:
        port = str(free.getsockname()[1])
    words = ["demo", "--minutes-of-history", "30", "--no-background", "--port", port]
    with terminal([*COMMAND, *words], {"XDG_CACHE_HOME": str(tmp_path), "LOG_LEVEL": "info", **named}) as found:
        found.wait_for("Writing 0.5 h of history")
        found.wait_for("Ctrl-C ends it.")
        found.press_ctrl_c()
        assert (found.wait(), found.last_line()) == (0, "Ended.")
        greeting = found.text.rpartition("\x1b[?25h")[2]

    assert f"In a browser, http://127.0.0.1:{port} is the status page." in greeting
    # The simulated gateway has a server, too, of which nobody wants to hear.
    assert "uvicorn" not in found.text
    # Lines of the log are as long as they are, not as the terminal is wide.
    assert "Serving the metrics routes below /prometheus/metrics, the Prometheus API at /api/v1, the JSON" in greeting


def test_ctrl_c_ends_the_demo_while_it_writes_history(tmp_path: Path) -> None:
    """Where nobody is asked and a thread works; `test_commands` has every stage without a terminal."""
    named = {f"{name.upper()}_BIN": str(engines.find_engine(name).path) for name in ("prometheus", "promtool")}
    with terminal([*COMMAND, "demo", "--port", "0"], {"XDG_CACHE_HOME": str(tmp_path), **named}) as found:
        found.wait_for("Writing 2 h of history")
        found.press_ctrl_c()
        assert (found.wait(), found.last_line()) == (0, "Ended.")
        assert found.text.count("\x1b[?25l") == found.text.count("\x1b[?25h") == 1


def test_a_pipe_gets_the_result_alone() -> None:
    """Progress is for eyes."""
    with listening() as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = subprocess.run([*COMMAND, "check", url, "--json"], capture_output=True, text=True, check=False)

    assert done.stdout.startswith("{\n")
    assert done.stderr == ""


def test_what_goes_into_a_pipe_stays_there_beside_a_terminal(tmp_path: Path) -> None:
    """`gatewayz-metrics check URL --json >file`, looked at in a terminal."""
    with listening() as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    line = f"{' '.join(COMMAND)} check {url} --json >{tmp_path / 'out'}"
    with terminal(["/bin/sh", "-c", line]) as found:
        assert found.wait() == 1
        shown = found.text

    assert "Asking" in shown
    assert "findings" not in shown
    assert (tmp_path / "out").read_text("utf-8").startswith("{\n")
