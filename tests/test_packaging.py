"""What is installed with the library, and what only with its command."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.environments.table import LOCK, locked

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
# What the extra `server` brings, itself and behind its packages.
SERVER = [
    "click",
    "granian",
    "httptools",
    "isal",
    "rich",
    "shellingham",
    "typer",
    "uvicorn",
    "uvloop",
    "watchfiles",
    "websockets",
]

LIBRARY = """
import logging
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import create_app, setup_prometheus_routes

logging.disable()  # each start says what is served
app = FastAPI()
setup_prometheus_routes(app, prometheus_api=None)
for each in (app, create_app()):
    assert TestClient(each).get("/prometheus/metrics/docs").status_code == 200
"""
COMMAND = "from gatewayz_metrics.__main__ import run; run()"


def without(packages: list[str], code: str) -> tuple[int, str]:
    """The exit code and the output of Python code where some packages are not installed."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({packages}))\n"
    command = [sys.executable, "-W", "ignore", "-c", blocked + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_library_needs_nothing_of_the_server() -> None:
    assert without(SERVER, LIBRARY) == (0, "")


@pytest.mark.parametrize("package", ["rich", "typer", "granian"])
def test_the_command_without_the_server_says_what_to_type(package: str) -> None:
    code, text = without([package], COMMAND)

    assert code == 1
    assert re.fullmatch(
        r"gatewayz-metrics: \S+ is not installed; type: pip install 'gatewayz-metrics\[server\]'\n", text
    )


def test_no_dependency_has_an_upper_bound() -> None:
    """But granian, whose embedded server is called experimental: no host has it through us."""
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["server"]]
    bounded = [each for each in declared if not re.fullmatch(r"[a-z-]+(\[[a-z]+\])?>=[0-9.]+(; .+)?", each)]

    assert [each.partition(">=")[0] for each in bounded] == ["granian"]


def test_the_service_is_installed_with_its_server() -> None:
    makefile, image = ((REPOSITORY / file).read_text("utf-8") for file in ("Makefile", "Dockerfile"))

    assert "--editable '.[server]'" in makefile
    # The lock has the server's packages, and nothing else comes in.
    assert f"--require-hashes --requirement {LOCK}" in image
    assert "--no-deps ." in image


def test_the_lock_has_every_dependency_in_a_version_that_is_declared() -> None:
    """A dependency that was added or raised needs `make lock`, or the image would lack it."""
    pins = {canonicalize_name(pin.name): pin for pin in map(Requirement, locked())}

    for declared in map(Requirement, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["server"]]):
        (pin,) = pins[canonicalize_name(declared.name)].specifier
        assert declared.specifier.contains(pin.version), f"{declared}: type `make lock`"


def test_everything_in_the_lock_has_its_hash_and_no_index_is_named() -> None:
    text = (REPOSITORY / LOCK).read_text("utf-8")

    assert "://" not in text
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if "==" in entry]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
