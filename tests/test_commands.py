"""The commands that serve nothing, and the options of those that serve: what a person types first."""

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from gatewayz_demo import engines
from gatewayz_metrics.catalogue import load

from tests.support.command import COMMAND, ended, finished, running
from tests.support.engine import Engine
from tests.support.server import address, listening
from tests.support.usage import children
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).parents[1]
PROVISIONING = REPOSITORY / "provisioning"
SHOP = REPOSITORY / "tests/dashboards/shop.toml"
BUILT_IN = REPOSITORY / "api/gatewayz_metrics/catalogue/gatewayz.toml"


def test_the_version_is_the_packages() -> None:
    assert finished("--version") == (0, f"gatewayz-metrics {version('gatewayz-metrics')}\n")


COMMANDS = ["serve", "demo", "check", "purge", "doctor", "catalogue", "dashboards"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    code, text = finished(command, "--help")

    assert code == 0
    assert f"Usage: python -m gatewayz_metrics {command}" in text


# --------------------------------------------------------------------------- serve, demo


def test_serve_takes_what_a_person_types(prometheus: Engine, tmp_path: Path) -> None:
    """Options win over the environment."""
    tokens = tmp_path / "tokens"
    tokens.write_text("first\n\n  second \n", "utf-8")
    with listening() as free:
        port = address(free).rpartition(":")[2]
    typed = ["--host", "127.0.0.1", "--port", port, "--url", prometheus.url, "--token-file", str(tokens)]
    elsewhere = {"PORT": "1", "HOST": "192.0.2.1", "PROMETHEUS_URL": "http://192.0.2.1", "API_TOKENS_FILE": "/none"}
    with running("serve", *typed, **elsewhere) as (process, url):
        statuses = [
            httpx.get(f"{url}/prometheus/metrics/summary", headers={"Authorization": f"Bearer {token}"}).status_code
            for token in ("first", "second", "other")
        ]
        ready = httpx.get(f"{url}/readyz").json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    assert url.endswith(f":{port}")
    assert statuses == [200, 200, 401]
    assert ready == {"status": "ok"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read (No such file or directory)."),
        (b" \n", "is empty."),
        (b"\xff", "cannot be used: it is not UTF-8."),
    ],
    ids=["absent", "empty", "no text"],
)
def test_a_file_without_tokens_stops_the_start(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    """Else the service would be open to everybody."""
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    code, text = finished("serve", "--port", "0", "--token-file", str(file))

    assert code == 1
    assert text.startswith("gatewayz-metrics: API_TOKENS_FILE ")
    assert text.endswith(f"{sentence}\n")
    assert len(text.splitlines()) == 1


def test_demo_takes_a_port(prometheus: Engine) -> None:
    with listening() as free:
        port = address(free).rpartition(":")[2]
    with running("demo", "--port", port, PROMETHEUS_URL=prometheus.url) as (process, url):
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0

    assert url.endswith(f":{port}")


STAGES = {
    "fetching": ("apt-get", "Fetching prometheus from the distribution"),
    "writing history": ("promtool", "Prometheus 2"),
    "adding older history": ("promtool", "Ctrl-C ends it."),
}


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_ends_the_demo_at_every_stage(tmp_path: Path, stage: str) -> None:
    """At once, with one line, and without the child that is stuck, what it started, and what they have written."""
    program, last = STAGES[stage]
    pid, bin_ = tmp_path / "pid", tmp_path / "bin"
    bin_.mkdir()
    real = engines.find_engine("promtool").path
    # The first history is let through where it is the older one that is stuck.
    lets_through = f'case "$*" in *24h*) exec {real} "$@";; esac' if stage == "adding older history" else ""
    script = f"#!/bin/sh\n{lets_through}\necho >half; echo $$ >{pid}; /bin/sleep 600 & wait\n"
    (bin_ / program).write_text(script, "utf-8")
    (bin_ / program).chmod(0o755)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PORT": "0", "PYTHONUNBUFFERED": "1"}
    if program == "promtool":
        prometheus = engines.find_engine("prometheus").path
        environment |= {"PROMETHEUS_BIN": str(prometheus), "PROMTOOL_BIN": str(bin_ / program)}
    else:
        (bin_ / "dpkg").symlink_to("/bin/true")
        # Without these the engines are found, not fetched.
        environment = {k: v for k, v in environment.items() if not k.endswith("_BIN")} | {"PATH": str(bin_)}
    with subprocess.Popen(
        [*COMMAND, "demo", "--minutes-of-history", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        # Who runs the tests in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # nothing else runs in it
    ) as process:
        try:
            wait_until(lambda: pid.exists() and pid.read_text("utf-8").endswith("\n"))
            begun = children(process.pid)
            process.send_signal(signal.SIGINT)
            status = process.wait(30)
        finally:
            process.kill()
        assert process.stdout is not None
        text = process.stdout.read()

    assert status == 0
    assert text.splitlines()[-1] == "Ended."
    assert last in text
    assert begun
    wait_until(lambda: not [each for each in (*begun, int(pid.read_text("utf-8"))) if Path(f"/proc/{each}").exists()])
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name.startswith((".fetch-", "scratch-"))]
    # What is complete is kept for the next start.
    has_data = (tmp_path / "cache/gatewayz-metrics/demo/data/origin.json").exists()
    assert has_data == (stage == "adding older history")


def test_demo_says_what_it_takes() -> None:
    code, text = finished("demo", "--help", NO_COLOR="1", COLUMNS="200")

    assert code == 0
    for option in ("--port", "--minutes-of-history", "--no-background", "--spec-families"):
        assert option in text


def test_ctrl_c_before_anything_is_loaded_is_one_line() -> None:
    lines = [
        "import sys",
        "class Interrupting:",
        "    def __getattr__(self, name):",
        "        raise KeyboardInterrupt",
        "sys.modules['gatewayz_metrics.cli'] = Interrupting()",
        "from gatewayz_metrics.__main__ import run",
        "run()",
    ]

    assert ended([sys.executable, "-c", "\n".join(lines)], {}) == (130, "Ended.\n")


# --------------------------------------------------------------------------- catalogue


def test_the_catalogue_as_json_has_everything() -> None:
    code, text = finished("catalogue", "--json")
    document = json.loads(text)

    assert code == 0
    assert [family["name"] for family in document["families"]] == [family.name for family in load().families]
    assert [each["name"] for each in document["statistics"]] == [each.name for each in load().statistics]
    assert all(each["unit"] and each["help"] and each["expressions"] for each in document["statistics"])


def test_a_valid_catalogue_is_called_so() -> None:
    code, text = finished("catalogue", "validate", str(BUILT_IN))

    assert (code, text) == (
        0,
        f"{BUILT_IN} is valid: {len(load().families)} families, {len(load().statistics)} statistics.\n",
    )


def test_an_invalid_catalogue_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("title = 1\n", "utf-8")
    code, text = finished("catalogue", "validate", str(file))

    assert code == 1
    assert text.startswith("gatewayz-metrics: ")
    assert "Traceback" not in text


# --------------------------------------------------------------------------- dashboards


def test_the_dashboards_are_written_as_they_are_here(tmp_path: Path) -> None:
    code, text = finished("dashboards", "--out", str(tmp_path / "out"))
    written = {path.relative_to(tmp_path / "out"): path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}

    assert code == 0
    assert f"{len(written)} files written" in text
    assert written == {path.relative_to(PROVISIONING): path.read_bytes() for path in PROVISIONING.rglob("*.*")}


def test_they_are_made_for_another_catalogue(tmp_path: Path) -> None:
    code, text = finished("dashboards", "--catalogue", str(SHOP), "--out", str(tmp_path / "out"))

    assert code == 0, text
    assert "Left out: Overview." in text
    assert (tmp_path / "out/grafana/dashboards/gatewayz/gw-tills.json").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    code, text = finished("dashboards", "--out", str(tmp_path / "file"))

    assert code == 1
    assert text.startswith(f"gatewayz-metrics: {tmp_path / 'file'} cannot be written")


# --------------------------------------------------------------------------- doctor


def test_the_doctor_says_what_is_there_and_what_is_not(prometheus: Engine) -> None:
    """The samples are a year old, so nothing has data now, and the doctor says so of each statistic."""
    code, text = finished("doctor", "--url", prometheus.url, "--json", API_TOKENS="one,two")
    found = {(each["route"], each["what"]): each for each in json.loads(text)["findings"]}

    assert found["service", "tokens"]["detail"] == "2 of API_TOKENS, 0 of TENANTS"
    assert found["upstream", "answers"]["ok"]
    assert found["upstream", "version"]["detail"][0].isdigit()
    assert found["service", "clock"]["detail"] == "agrees"
    assert found["families", "have data"]["detail"] == f"0 of {len(load().families)}"
    assert "No data: no matching series" in found["N/A", "http.error_rate"]["detail"]
    assert code == 1


def test_the_doctor_shows_a_token_of_a_file(prometheus: Engine, tmp_path: Path) -> None:
    """Without one every route would refuse it."""
    tokens = tmp_path / "tokens"
    tokens.write_text("\n one\t\ntwo", "utf-8")

    _, text = finished("doctor", "--url", prometheus.url, "--json", API_TOKENS_FILE=str(tokens))
    found = {(each["route"], each["what"]): each for each in json.loads(text)["findings"]}

    assert found["upstream", "answers"] == found["upstream", "answers"] | {"ok": True, "detail": prometheus.url}


def test_the_doctor_names_an_upstream_that_is_no_help() -> None:
    code, text = finished("doctor", "--url", "http://127.0.0.1:9", "--grafana", "http://127.0.0.1:9")

    assert code == 1
    assert "cannot be reached" in text
    assert "grafana" in text
    assert "Traceback" not in text
