"""What the backend's own requirements say of ours; run by `make test-oldest` in an environment that began with them."""

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement

from tests.environments.table import BACKEND, REPOSITORY


@pytest.mark.parametrize("pin", BACKEND)
def test_a_pin_is_where_it_was(pin: str) -> None:
    requirement = Requirement(pin)

    assert requirement.specifier.contains(version(requirement.name))


def test_the_pins_and_ours_resolve_together() -> None:
    # A fresh resolution, with what is installed out of sight.
    options = ["--dry-run", "--ignore-installed", "--quiet", "--prefer-binary", "--report", "-"]
    command = [sys.executable, "-m", "pip", "install", *options, *BACKEND, f"{REPOSITORY}[server]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    chosen = [each["metadata"] for each in json.loads(done.stdout)["install"]]
    found = {each["name"].lower().replace("_", "-"): each["version"] for each in chosen}
    assert "gatewayz-metrics" in found
    for pin in map(Requirement, BACKEND):
        assert pin.specifier.contains(found[pin.name])


def test_the_library_alone_brings_nothing_of_a_server() -> None:
    needed = {Requirement(each).name for each in requires("gatewayz-metrics") or () if "extra ==" not in each}

    assert needed == {
        "anyio",
        "fastapi",
        "httpx",
        "orjson",
        "prometheus-client",
        "pydantic",
        "pydantic-settings",
        "sniffio",
    }


def test_openai_is_made() -> None:
    # With httpx 0.28 this one raises TypeError: it hands over `proxies`.
    assert import_module("openai").OpenAI(api_key="x").api_key == "x"
