"""Real engines over known samples, and the service on top of them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gatewayz_demo import processes
from gatewayz_metrics.settings import has_aiohttp
from hypothesis import settings

from tests.support import samples
from tests.support.engine import Engine

# How long one example takes says more about the machine than about the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


# Seconds for the upstream. How fast an engine is on a busy machine is no property of ours: tests of the limits
# themselves set their own, or ask for those that we ship.
_PATIENCE = {"PROMETHEUS_CONNECT_TIMEOUT": "60", "PROMETHEUS_TIMEOUT": "100", "PROMETHEUS_RANGE_TIMEOUT": "100"}
# So do the clients of the tests. The service's own name their limits.
_CLIENTS = (httpx.request, httpx.get, httpx.post, httpx.Client.__init__, httpx.AsyncClient.__init__)


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, seconds in _PATIENCE.items():
            patch.setenv(name, seconds)
        for call in _CLIENTS:
            patch.setattr(call, "__kwdefaults__", {**(call.__kwdefaults__ or {}), "timeout": httpx.Timeout(100)})
        yield


@pytest.fixture
def shipped_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of time that users have."""
    for name in _PATIENCE:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real Prometheus over the known hour."""
    data = tmp_path_factory.mktemp("prometheus")
    processes.backfill(samples.openmetrics(data / "samples.om"), data / "tsdb")
    with processes.start_prometheus(data / "tsdb") as process:
        yield Engine("prometheus", process.url)


@pytest.fixture(scope="session")
def victoria_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real VictoriaMetrics over the same hour."""
    data = tmp_path_factory.mktemp("victoria")
    with processes.start_victoria_metrics(data, extra_flags=["-search.disableCache"]) as process:
        page = samples.exposition_with_times(data / "samples.txt").read_bytes()
        httpx.post(f"{process.url}/api/v1/import/prometheus", content=page).raise_for_status()
        httpx.get(f"{process.url}/internal/force_flush").raise_for_status()
        yield Engine("victoriametrics", process.url)


@pytest.fixture(params=["prometheus", "victoria_metrics"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["httpx", "aiohttp"] if has_aiohttp() else ["httpx"])
def http_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each library that can ask the upstream, in turn, wherever settings are read."""
    library: str = request.param
    monkeypatch.setenv("UPSTREAM_CLIENT", library)
    return library


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the machine's own settings or a `.env` of the checkout."""
    for name in (
        "PROMETHEUS_URL",
        "API_TOKENS",
        "SELECTOR",
        "CATALOGUE",
        "CACHE_TTL",
        "PORT",
        "HOST",
        "UPSTREAM_CLIENT",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
