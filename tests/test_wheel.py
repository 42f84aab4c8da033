"""What is built for others: a wheel and a source archive that are complete, described, and work where installed."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def done(*command: str, **environment: str) -> str:
    """All output of a command that must succeed."""
    found = subprocess.run(
        [sys.executable, *command], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that is made of it."""
    folder = tmp_path_factory.mktemp("dist")
    done("-m", "build", "--no-isolation", "--outdir", str(folder), str(REPOSITORY))
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's packages and their metadata, and no checkout above it."""
    folder = tmp_path_factory.mktemp("installed")
    done("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


def files_below(folder: str) -> set[str]:
    return {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / folder).rglob("*.*") if path.is_file()}


def test_both_are_in_order(built: Path) -> None:
    assert done("-m", "twine", "check", "--strict", *map(str, built.iterdir())).count("PASSED") == 2


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        licenses = [archive.read(name) for name in archive.namelist() if name.endswith("/licenses/LICENSE")]

    assert metadata["License-Expression"] == "Apache-2.0"
    assert licenses == [(REPOSITORY / "LICENSE").read_bytes()]
    assert "Framework :: FastAPI" in metadata.get_all("Classifier", [])
    assert f"## {metadata['Version']}\n" in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def test_the_wheel_carries_its_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {"catalogue/gatewayz.toml", "operations/status.html", "py.typed"} | files_below("provisioning")

    assert {f"gatewayz_metrics/{name}" for name in data} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "gatewayz_metrics",
        "gatewayz_demo",
    }


def test_the_source_archive_can_be_tested(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "dashboards/generate.py", "tests/conftest.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".schemathesis", ".ci"))]


def test_what_is_installed_works(installed: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(installed)}
    command = ("-m", "gatewayz_metrics")
    place = done("-c", "import gatewayz_metrics; print(gatewayz_metrics.__file__)", **environment)
    version = done(*command, "--version", **environment)
    done(*command, "dashboards", "--out", str(tmp_path), **environment)
    written = {f"provisioning/{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*.*") if path.is_file()}

    assert place.startswith(str(installed))
    assert f"gatewayz_metrics-{version.split()[-1]}.dist-info" in {path.name for path in installed.iterdir()}
    assert written == files_below("provisioning")
    assert '"families"' in done(*command, "catalogue", "--json", **environment)


def test_what_needs_a_checkout_says_so(installed: Path, tmp_path: Path) -> None:
    words = ("dashboards", "--catalogue", str(REPOSITORY / "tests/dashboards/shop.toml"), "--out", str(tmp_path))
    found = subprocess.run(
        [sys.executable, "-m", "gatewayz_metrics", *words],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 1
    assert "are made in a checkout of this project" in found.stderr
