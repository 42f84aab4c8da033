"""Packages from the npm registry, fetched once and kept in the user's cache."""

import shutil
import subprocess
from pathlib import Path

import pytest
from gatewayz_demo import fetch


def install(name: str, *packages: str) -> Path:
    """The folder of that name in the cache, with packages in it. Skips the test where they cannot be had."""
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        pytest.skip("Node and npm are not installed.")
    folder = fetch.create_cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    with fetch.lock(folder / "lock"):
        if not (folder / "complete").exists():
            _fetch(npm, folder, packages)
    return folder


def _fetch(npm: str, folder: Path, packages: tuple[str, ...]) -> None:
    folder.joinpath("package.json").write_text('{"private": true}', "utf-8")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    except subprocess.TimeoutExpired:
        pytest.skip("The npm registry does not answer.")
    if done.returncode:
        pytest.skip(f"The packages cannot be installed: {done.stderr[-300:]}")
    folder.joinpath("complete").touch()
