"""Grafana's own package for data, run by Node: it comes from the npm registry once and is kept in the user's cache."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gatewayz_demo import fetch

VERSION = "11.6.2"


def run(script: Path, given: object) -> Any:
    """What a script writes, which gets the folder of the package and reads JSON. Skips the test without Node."""
    command = [str(shutil.which("node")), str(script), str(_package())]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _package() -> Path:
    """The folder that holds the package."""
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        pytest.skip("Node and npm are not installed.")
    folder = fetch.create_cache_folder() / f"grafana-data-{VERSION}"
    folder.mkdir(exist_ok=True)
    with fetch.lock(folder / "lock"):
        if not (folder / "complete").exists():
            _install(npm, folder)
    return folder


def _install(npm: str, folder: Path) -> None:
    folder.joinpath("package.json").write_text('{"private": true}', "utf-8")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", f"@grafana/data@{VERSION}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    except subprocess.TimeoutExpired:
        pytest.skip("The npm registry does not answer.")
    if done.returncode:
        pytest.skip(f"The package cannot be installed: {done.stderr[-300:]}")
    folder.joinpath("complete").touch()
