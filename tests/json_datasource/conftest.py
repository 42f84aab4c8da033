"""A real Prometheus over the hours of the recorded requests, and the service on top of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from gatewayz_demo import processes

from tests.json_datasource import recorded_data
from tests.support.client import serving
from tests.support.engine import Engine


@pytest.fixture(scope="session")
def recorded_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real Prometheus over the known hours."""
    data = tmp_path_factory.mktemp("recorded")
    processes.backfill(recorded_data.openmetrics(data / "recorded.om"), data / "tsdb")
    with processes.start_prometheus(data / "tsdb") as process:
        yield Engine("prometheus", process.url)


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of the recorded metrics."""
    path = tmp_path_factory.mktemp("catalogue") / "recorded.toml"
    path.write_text(recorded_data.CATALOGUE, "utf-8")
    return path


@pytest.fixture(scope="session")
def client(recorded_engine: Engine, catalogue: Path) -> Iterator[TestClient]:
    """The stand-alone service with the catalogue of the recorded metrics."""
    with serving(recorded_engine.url, catalogue=catalogue, cache_ttl=0) as found:
        yield found
