"""`make run` on machines that lack something: one sentence each, with the remedy."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKE = shutil.which("make") or "make"
MAKEFILE = Path(__file__).parents[1] / "Makefile"
# What recipes call besides Python.
TOOLS = ("sh", "touch", "rm", "awk")
OLD = """
case "$2" in *version_info*) echo 3.9.2; exit 1;; esac
"""
# Debian's own words.
WITHOUT_VENV = """
[ "$1" = -m ] || exit 0
mkdir -p .venv
echo "The virtual environment was not created successfully because ensurepip is not available."
exit 1
"""
STRANGE_VENV = """
[ "$1" = -m ] || exit 0
echo "Error: something else"
exit 1
"""
# Its pip meets what a test writes into the file `said`.
WITH_PIP = """
[ "$1" = -m ] || exit 0
mkdir -p .venv/bin
printf '#!/bin/sh\\ncat %s >&2; exit 1' "$PWD/said" >.venv/bin/pip
/bin/chmod +x .venv/bin/pip
"""
DF = """
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "disk 1000000 1000 {free} 1% /"
"""
UNREACHABLE = "ERROR: Could not find a version that satisfies the requirement hatchling>=1.27 (from versions: none)"


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}", "utf-8")
    path.chmod(0o755)


def run(folder: Path, python: str | None, free: int = 10**6, **variables: str) -> list[str]:
    """What `make run` says, on a machine with that python3 and so many free kilobytes."""
    bin_ = folder / "bin"
    bin_.mkdir()
    for name in (*TOOLS, "cat", "mkdir", "printf"):
        (bin_ / name).symlink_to(shutil.which(name) or name)
    script(bin_ / "df", DF.format(free=free))
    if python is not None:
        script(bin_ / "python3", python)
    shutil.copy(MAKEFILE, folder)
    (folder / "pyproject.toml").touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        [MAKE, "run"],
        cwd=folder,
        env=env | {"PATH": str(bin_)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    # make's own line about the target that failed comes on top.
    assert [line for line in done.stderr.splitlines() if not line.startswith("make")] == []
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        (None, "There is no python3; install Python 3.11 or newer, or name one with: make PYTHON=python3.12"),
        (OLD, "This needs Python 3.11 or newer, and python3 is 3.9.2; name one with: make PYTHON=python3.12"),
    ],
    ids=["none", "too old"],
)
def test_a_machine_without_python(tmp_path: Path, python: str | None, sentence: str) -> None:
    assert run(tmp_path, python) == [sentence]


def test_windows_is_told_where_to_go(tmp_path: Path) -> None:
    [line] = run(tmp_path, None, OS="Windows_NT")

    assert line == "This needs Linux or macOS; on Windows type it in WSL, or use Docker: docker compose up --build"


def test_a_python_without_venv(tmp_path: Path) -> None:
    assert run(tmp_path, WITHOUT_VENV)[1:] == [
        "The environment cannot be made: python3 has no module venv; on Debian: apt-get install python3-venv"
    ]
    assert not (tmp_path / ".venv").exists()


def test_what_nobody_foresaw_is_shown(tmp_path: Path) -> None:
    assert run(tmp_path, STRANGE_VENV)[1:] == [
        "Error: something else",
        "The environment cannot be made: python3 -m venv .venv says so.",
    ]


def test_a_full_disk(tmp_path: Path) -> None:
    """venv says only that a command failed."""
    sentence = "The environment cannot be made: the disk is full; make room for about 300 MB here and in TMPDIR."

    assert run(tmp_path, STRANGE_VENV, free=4000)[1:] == [sentence]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (UNREACHABLE, "the package index cannot be reached; check the network, PIP_INDEX_URL and HTTPS_PROXY."),
        ("[Errno 28] No space left on device", "the disk is full; make room for about 300 MB here and in TMPDIR."),
        ("[Errno 13] Permission denied: '/x'", "this folder cannot be written."),
    ],
    ids=["no network", "full disk", "no rights"],
)
def test_packages_that_cannot_be_installed(tmp_path: Path, said: str, sentence: str) -> None:
    (tmp_path / "said").write_text(said, "utf-8")

    assert run(tmp_path, WITH_PIP)[-1] == f"The packages cannot be installed: {sentence}"
    assert not (tmp_path / ".venv/runs").exists()
