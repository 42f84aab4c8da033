"""What the pages show in a console, typed as it stands there, and the trees of folders that they draw."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from gatewayz_demo import engines, processes
from gatewayz_metrics.settings import Settings

from tests.support import samples
from tests.support.client import serving
from tests.support.command import COMMAND, running
from tests.support.engine import Engine
from tests.support.pages import ROOT, Example, claim
from tests.support.server import address, listening
from tests.support.waiting import wait_until

[FIRST, OUTAGE] = claim("README.md", "console", "GatewayZ Metrics")
[OWN_SERVER, CONTAINER] = claim("README.md", "console", "Over your own server")
[CONTAINERS] = claim("README.md", "console", "In Grafana")
[HOST] = claim("README.md", "console", "In your own FastAPI application")
[HOST_CODE] = claim("README.md", "python", "In your own FastAPI application")
[FOLDERS] = claim("README.md", "", "Development")
[TASKS] = claim("CONTRIBUTING.md", "console", "Contributing")
[MAP] = claim("CONTRIBUTING.md", "", "The map")
[PANEL] = claim("docs/grafana.md", "console", "As a JSON datasource")
[CONTAINERS_AGAIN] = claim("docs/grafana.md", "console", "Dashboards")

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which the command is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "gatewayz-metrics": shlex.join(COMMAND),
        "pip": shlex.join([sys.executable, "-m", "pip"]),
        # For a machine without it; the pages want random digits alone.
        "openssl": shlex.join(
            [sys.executable, "-c", "import secrets, sys; print(secrets.token_hex(int(sys.argv[3])))"]
        ),
    }
    for name, command in scripts.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', "utf-8")
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}


def typed(lines: str, env: dict[str, str]) -> str:
    """What lines print that must succeed."""
    done = subprocess.run(
        ["/bin/sh", "-ec", lines], env=env, capture_output=True, text=True, check=False
    )  # the pages' own
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --------------------------------------------------------------------------- the first minutes


def test_the_first_answer_is_the_demos(tmp_path: Path) -> None:
    named = {f"{name.upper()}_BIN": str(engines.find_engine(name).path) for name in ("prometheus", "promtool")}
    shown = json.loads(re.sub(r", \.\.\.\}\}\n$", "}}", FIRST.answer))
    with running("demo", "--minutes-of-history", "30", XDG_CACHE_HOME=str(tmp_path), **named) as (_, url):
        [start, ask] = FIRST.commands
        found = json.loads(typed(ask.replace("http://127.0.0.1:8000", url), dict(os.environ)))

    assert start == "make run"
    assert_recipe_of(start, "gatewayz-metrics demo")
    assert keys(found) == keys(shown)
    assert absent(found) == absent(shown)
    assert found["absent"].items() >= shown["absent"].items()


def assert_recipe_of(line: str, ends: str) -> None:
    # Below another make it would name its folder at the end.
    command = ["make", "--no-print-directory", "-n", *line.split()[1:]]
    recipe = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert recipe.stdout.strip().endswith(ends)


def keys(summary: dict[str, Any]) -> dict[str, list[str]]:
    return {section: list(values) for section, values in summary["metrics"].items()}


def absent(summary: dict[str, Any]) -> set[str]:
    metrics = summary["metrics"].items()
    return {f"{section}.{key}" for section, values in metrics for key, value in values.items() if value == "N/A"}


def test_the_error_answers_are_real() -> None:
    with serving() as client:
        found = [client.get(re.findall(r"http://127.0.0.1:8000([^' ]+)", line)[0]).text for line in OUTAGE.commands]

    assert [without_time(text.strip()) for text in found] == without_time(OUTAGE.answer.strip()).splitlines()


def without_time(text: str) -> str:
    return re.sub(r'"timestamp":"[^"]+"', '"timestamp":"?"', text)


# --------------------------------------------------------------------------- over one's own server


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose samples end now."""
    begin = int(time.time()) // samples.STEP * samples.STEP - 3600
    processes.backfill(samples.openmetrics(tmp_path / "now.om", start=begin), tmp_path / "tsdb")
    with processes.start_prometheus(tmp_path / "tsdb") as process:
        yield Engine("prometheus", process.url)


def test_the_commands_over_ones_own_server(upstream: Engine, shell: dict[str, str]) -> None:
    with listening() as free:
        port = address(free).rpartition(":")[2]
    env = shell | {"PORT": port, "SELECTOR": 'env="production"'}
    [install, doctor, token, serve, check] = [
        line.replace("http://prometheus:9090", upstream.url).replace(
            "http://localhost:8000", f"http://127.0.0.1:{port}"
        )
        for line in OWN_SERVER.commands
    ]
    assert install == "pip install '.[server]'"
    without_network = install.replace("install", "install --dry-run --no-deps --no-index --no-build-isolation")
    assert "Would install gatewayz-metrics" in typed(f"cd {ROOT}; {without_network}", env)
    assert "have data" in typed(doctor, env)
    typed(token, env)
    with subprocess.Popen(["/bin/sh", "-c", f"exec {serve}"], env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Listening on ")
            wait_until(lambda: not judge(check, env))
        finally:
            process.terminate()


def judge(check: str, env: dict[str, str]) -> list[str]:
    """What fails in a deployment, but for how long it takes: shared machines are slow at times."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{check} --json"], env=env, capture_output=True, text=True, check=False
    )  # the page's own
    findings = json.loads(done.stdout)["findings"]
    assert len(findings) > 1, findings
    return [each["what"] for each in findings if not each["ok"] and each["what"] != "latency"]


def test_the_image_is_run_with_settings_that_exist() -> None:
    build, run = (shlex.split(line) for line in CONTAINER.commands)
    options = dict(zip(run[2:-1:2], run[3:-1:2], strict=False))
    given = [word.partition("=")[0].lower() for flag, word in pairwise(run) if flag == "-e"]

    assert build == ["docker", "build", "-t", run[-1], "."]
    assert run[:3] == ["docker", "run", "--read-only"]
    assert options
    assert set(given) <= set(Settings.model_fields)
    assert f"-p {re.findall(r'^EXPOSE (.+)$', DOCKERFILE, re.MULTILINE)[0]}:8000" in CONTAINER.text


@pytest.mark.parametrize("example", [CONTAINERS, CONTAINERS_AGAIN], ids=["README", "grafana"])
def test_the_containers_get_what_they_ask_for(example: Example, shell: dict[str, str]) -> None:
    [export, up, echo] = example.commands
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text("utf-8")))
    [port] = COMPOSE["services"]["grafana"]["ports"]
    assert up == "docker compose up --build --wait"
    assert needed == set(re.findall(r"(\w+)=", export))

    told = typed(f"{export}\n{echo}", shell)

    assert re.fullmatch(rf"http://{re.escape(port.rpartition(':')[0])}, user admin, password [0-9a-f]{{24}}\n", told)


# --------------------------------------------------------------------------- in one's own application


def test_one_call_serves() -> None:
    namespace: dict[str, Any] = {}
    exec(HOST_CODE.text, namespace)  # noqa: S102  # the README's own example

    assert TestClient(namespace["app"]).get("/prometheus/metrics/docs").status_code == 200


def test_the_settings_of_a_host_close_its_prometheus_api(shell: dict[str, str]) -> None:
    [export] = HOST.commands
    lines = [
        HOST_CODE.text,
        "import os",
        "from fastapi.testclient import TestClient",
        "client, token = TestClient(app), os.environ['GATEWAYZ_METRICS_API_TOKENS']",
        "for headers in ({}, {'X-API-Key': token}):",
        "    print(client.get('/prometheus/api/v1/query?query=up', headers=headers).status_code)",
    ]
    told = typed(f"{export}\n{shlex.quote(sys.executable)} -c {shlex.quote(chr(10).join(lines))}", shell)

    # With the token it is the upstream of the page that is missing, and no answer in a host is a 5xx.
    assert told.split() == ["401", "422"]


# --------------------------------------------------------------------------- the code


def test_the_tasks_of_a_contributor_exist() -> None:
    *tasks, single = TASKS.commands
    for task in tasks:
        typed(f"cd {ROOT}; make -n {task.removeprefix('make ')}", dict(os.environ))
    program, *words = shlex.split(single)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--collect-only", "-q", "-n", "0"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )

    assert program == ".venv/bin/pytest"
    assert done.returncode == 0, done.stdout


def drawn(tree: str) -> Iterator[Path]:
    """The files and folders that a tree draws: those of a line that is not indented, or below the last such line."""
    above = ROOT
    for line in tree.splitlines():
        names = [word for word in line.split() if re.fullmatch(r"\w[\w/]*(\.py|/)", word)]
        if line.startswith(" "):
            yield from (above / name for name in names)
        else:
            above = ROOT / names[0]
            # Beside a folder stands what it is for, or another one.
            yield from (place for name in names if (place := ROOT / name).exists() or not (above / name).exists())


@pytest.mark.parametrize("example", [FOLDERS, MAP], ids=["README", "CONTRIBUTING"])
def test_the_folders_that_are_drawn_are_there(example: Example) -> None:
    found = list(drawn(example.text))

    assert len(found) >= 4
    assert [path for path in found if not path.exists()] == []


# --------------------------------------------------------------------------- a panel


def test_a_panel_is_answered_as_shown(prometheus: Engine) -> None:
    [line] = PANEL.commands
    words = shlex.split(line)
    body, shown = json.loads(words[words.index("-d") + 1]), json.loads(PANEL.answer)
    # The hour of the known samples, in place of the one that was asked for.
    body["range"] = {"from": str(1000 * (samples.START + 3000)), "to": str(1000 * (samples.START + 3120))}
    with serving(prometheus.url) as client:
        found = client.post(words[2].removeprefix("http://127.0.0.1:8000"), content=json.dumps(body)).json()

    assert [len(each.pop("datapoints")) for each in found] == [len(each.pop("datapoints")) for each in shown]
    assert found == shown


def test_the_version_of_the_pages_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert f"## {project['version']}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")
