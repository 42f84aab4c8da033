"""What a type checker says of code that uses the package; the checker knows nothing of pydantic but its types."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import gatewayz_metrics

CONSUMER = """
from contextlib import asynccontextmanager
from typing import AsyncIterator

from fastapi import FastAPI
from gatewayz_metrics import ConfigurationError, Settings, __version__, create_app, setup_prometheus_routes

settings = Settings(prometheus_url="http://prometheus:9090", cache_ttl=0, prometheus_engine="mimir")
release: str = __version__


def started() -> FastAPI:
    try:
        return create_app(settings)
    except ConfigurationError as exc:
        raise SystemExit(exc.sentence) from exc


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with setup_prometheus_routes(app, settings=settings, json_datasource="/grafana"):
        yield
"""
MISTAKES = """
from gatewayz_metrics import Settings

Settings(prometheus_url=9090)
Settings(port="8000")
"""


def judged(code: str, folder: Path) -> str:
    """What mypy prints of a module of its own, with the strictest settings and no plugin."""
    module = folder / "consumer.py"
    module.write_text(code)
    # The package is the consumer's dependency: found, and not judged itself.
    options = ["--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={folder}"]
    environment = {"MYPYPATH": str(Path(gatewayz_metrics.__file__).parents[1])}
    command = [sys.executable, "-m", "mypy", *options, str(module)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


def test_a_consumer_is_accepted(tmp_path: Path) -> None:
    assert judged(CONSUMER, tmp_path) == "Success: no issues found in 1 source file\n"


def test_a_mistaken_setting_is_found(tmp_path: Path) -> None:
    said = judged(MISTAKES, tmp_path)

    assert 'consumer.py:4: error: Argument "prometheus_url"' in said
    assert 'consumer.py:5: error: Argument "port"' in said


def test_the_version_is_the_installed_one() -> None:
    assert gatewayz_metrics.__version__ == version("gatewayz-metrics")
