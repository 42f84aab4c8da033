"""Make environments and run their tests: `python -m tests.environments oldest backend`, or `hosts` for the others.

An environment begins as a host's, with what the table names and the tools of the tests. Then our package joins the
host's requirements, and what was there must not move.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.environments.table import ENVIRONMENTS, REPOSITORY, Environment

TOLD = ("fastapi", "starlette", "httpx", "anyio", "pydantic", "pydantic-settings", "orjson", "prometheus-client")
NAMED = ("oldest", "backend", "locked", "py3112")


def main(names: list[str]) -> int:
    """How many environments failed; every one is tried."""
    table = {environment.name: environment for environment in ENVIRONMENTS}
    chosen = [name for name in table if name not in NAMED] if names == ["hosts"] else names
    return sum(not _passes(table[name]) for name in chosen)


def _passes(environment: Environment) -> bool:
    if environment.python and not _find_interpreter(environment.python):
        # A machine need not have every Python; whoever runs the newest alone still sees all else tested.
        _say(f"{environment.name}: SKIPPED, it needs Python {environment.python}, and none is on the PATH.")
        return True
    begun = time.monotonic()
    if not _is_made(environment):
        _make(environment)
    made = time.monotonic()
    versions = _installed(environment)
    _say(f"{environment.name}: {', '.join(f'{name} {versions[name]}' for name in TOLD if name in versions)}")
    options = ("-q", "-p", "no:cacheprovider", "-n", "auto")
    done = subprocess.run(
        [_python(environment), "-m", "pytest", *options, *environment.tests],
        cwd=REPOSITORY,
        env=os.environ | environment.variables,
        check=False,
    )
    _say(f"{environment.name}: installed in {made - begun:.0f} s, tested in {time.monotonic() - made:.0f} s")
    return done.returncode == 0


def _make(environment: Environment) -> None:
    shutil.rmtree(environment.folder, ignore_errors=True)
    interpreter = _find_interpreter(environment.python)
    assert interpreter
    subprocess.run([interpreter, "-m", "venv", environment.folder], check=True)
    if environment.lock:
        _install(environment, "--require-hashes", "--requirement", environment.lock)
    _install(environment, *environment.packages, "--group", "tests")
    before = _installed(environment)
    _install(environment, *environment.packages, "--editable", ".[server]")
    after = _installed(environment)
    if moved := [f"{name} {was} to {after.get(name)}" for name, was in before.items() if after.get(name) != was]:
        sys.exit(f"{environment.name}: installing this package moved {', '.join(moved)}.")
    _stamp(environment).write_text(_recipe(environment))


def _install(environment: Environment, *words: str) -> None:
    options = ("--quiet", "--disable-pip-version-check", "--prefer-binary")
    command = [sys.executable, "-m", "pip", "--python", _python(environment), "install", *options, *words]
    subprocess.run(command, cwd=REPOSITORY, check=True)


def _installed(environment: Environment) -> dict[str, str]:
    """Every package's version."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    command = [_python(environment), "-c", code]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {name.lower().replace("_", "-"): version for name, version in found.items()}


def _is_made(environment: Environment) -> bool:
    return _stamp(environment).exists() and _stamp(environment).read_text() == _recipe(environment)


def _stamp(environment: Environment) -> Path:
    return environment.folder / "made-from.json"


def _recipe(environment: Environment) -> str:
    """All that an environment is made from; another one is made when this differs."""
    files = (Path(__file__), REPOSITORY / "pyproject.toml")
    return json.dumps([environment.packages, environment.python, *(file.read_text("utf-8") for file in files)])


def _python(environment: Environment) -> str:
    return str(environment.folder / "bin" / "python")


def _find_interpreter(version: str) -> str | None:
    """The Python of that version: the one that runs this, or one that is found by its name."""
    if not version or sys.version.startswith(f"{version}."):
        return sys.executable
    return shutil.which(f"python{version}")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # the progress of a task


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
