"""What is committed is what the generator makes."""

import difflib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from dashboards import generate
from tests.dashboards.catalogues import made

PACKAGE = Path(generate.__file__).parent


def test_every_generated_file_is_up_to_date() -> None:
    for name, text in made().files().items():
        old = (generate.ROOT / name).read_text("utf-8")
        diff = "".join(list(difflib.unified_diff(old.splitlines(True), text.splitlines(True), name, "made anew"))[:40])
        assert not diff, f"run `make dashboards`:\n{diff}"


def test_nothing_is_left_that_is_no_longer_made() -> None:
    expected = {Path(name).name for name in made().files() if name.startswith(generate.BOARDS)}

    assert {path.name for path in (generate.ROOT / generate.BOARDS).iterdir()} == expected
    assert made().stale(generate.ROOT) == []


@pytest.mark.parametrize("seed", ["0", "42"])
def test_the_same_bytes_come_out_of_every_run(seed: str) -> None:
    script = """
from dashboards.generate import generate
from gatewayz_metrics.catalogue import load

print(repr(generate(load()).files()), end="")
"""
    env = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)

    assert run.stdout == repr(made().files())


def test_the_sdk_is_of_the_grafana_we_target() -> None:
    # Unpinned it would resolve to the types of a Grafana of years ago, whose build has the highest epoch.
    assert version("grafana-foundation-sdk").endswith("!11.6.0")
