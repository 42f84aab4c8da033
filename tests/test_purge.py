"""Answers from the upstream itself: for one request, or for everybody after a purge."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app, setup_prometheus_routes

from tests.support import samples, server
from tests.support.client import serving
from tests.support.engine import Engine

RANGE = {"query": "up", "start": str(samples.START), "end": str(samples.START + 600), "step": "15"}
INSTANT = {"query": "up", "time": str(samples.START)}
PATHS = {"/api/v1/query_range": RANGE, "/api/v1/query": INSTANT, "/api/v1/labels": {}, "/api/v1/status/buildinfo": {}}


@pytest.fixture
def api(prometheus: Engine) -> Iterator[TestClient]:
    with serving(prometheus.url) as client:
        yield client


def calls(client: TestClient) -> float:
    """Requests that have reached the upstream."""
    page = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in page if line.startswith("gatewayz_metrics_upstream_requests_total{"))


def asked(client: TestClient, path: str, **headers: str) -> float:
    """How many requests one question costs the upstream."""
    before = calls(client)
    assert client.get(path, params=PATHS[path], headers=headers).status_code == 200
    return calls(client) - before


@pytest.mark.parametrize("path", PATHS)
def test_no_cache_brings_a_fresh_answer_and_leaves_it_for_others(api: TestClient, path: str) -> None:
    """1.7: Cache-Control: no-cache of a request."""
    assert [asked(api, path), asked(api, path)] == [1, 0]
    assert asked(api, path, **{"Cache-Control": "max-age=0, No-Cache"}) == 1
    assert asked(api, path, **{"Cache-Control": "no-cache-please"}) == 0
    # Where nothing is kept it leaves its answer, too.
    assert api.post("/-/purge").status_code == 200
    assert [asked(api, path, **{"Cache-Control": "no-cache"}), asked(api, path)] == [1, 0]


def test_a_purge_forgets_every_answer(api: TestClient) -> None:
    """1.7: no way to purge."""
    for path in PATHS:
        assert [asked(api, path), asked(api, path)] == [1, 0]
    api.get("/prometheus/metrics/summary")

    answer = api.post("/-/purge")

    assert answer.json()["status"] == "ok"
    assert answer.json()["range_cache_bytes"] > 1000
    assert [asked(api, path) for path in PATHS] == [1, 1, 1, 1]
    before = calls(api)
    api.get("/prometheus/metrics/summary")
    assert calls(api) > before


def test_a_purge_needs_a_token_where_there_are_tokens(prometheus: Engine) -> None:
    tenants = {"theirs": "tenant"}
    with serving(prometheus.url, api_tokens=("right",), prometheus_engine="mimir", tenants=tenants) as client:
        for token, status in (("", 401), ("wrong", 401), ("theirs", 401), ("right", 200)):
            answer = client.post("/-/purge", headers={"Authorization": f"Bearer {token}"} if token else {})
            assert answer.status_code == status
        assert client.get("/-/purge", headers={"Authorization": "Bearer right"}).status_code == 403


@pytest.mark.parametrize(
    ("prefix", "tokens", "status"),
    [(None, (), 404), (None, ("right",), 200), ("/prom", (), 403), ("/prom", ("right",), 200), ("", (), 403)],
)
def test_in_a_host_a_purge_needs_tokens(prefix: str | None, tokens: tuple[str, ...], status: int) -> None:
    app = FastAPI()
    settings = Settings(prometheus_url="http://127.0.0.1:9", api_tokens=tokens)
    if prefix is None:
        setup_prometheus_routes(app, settings=settings)
    else:
        setup_prometheus_routes(app, settings=settings, prometheus_api=prefix)
    with TestClient(app) as client:
        answer = client.post(f"{prefix or ''}/-/purge", headers={"Authorization": "Bearer right"})

    assert answer.status_code == status


def purge(*words: str, **environment: str) -> tuple[int, str]:
    """The exit code of the command and the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "gatewayz_metrics", "purge", *words],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_purges_and_prints_one_line(prometheus: Engine) -> None:
    app = create_app(Settings(prometheus_url=prometheus.url, api_tokens=("right",)))
    with server.running(app, server.listening()) as url:
        code, line = purge(url, "--token", "right")
        assert (code, line.count("\n")) == (0, 1)
        assert line.startswith(f"{url} has forgotten all that it kept, 0 bytes")
        assert purge(url, API_TOKEN="right") == (code, line)  # a token of this test
        code, line = purge(url)
        assert (code, line.count("\n")) == (1, 1)
        assert "is not purged (HTTP 401)" in line


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("localhost:8000", "such as http://localhost:8000."),
        ("http://127.0.0.1:9", "check the URL and that the service runs."),
    ],
)
def test_a_purge_that_reaches_nobody_is_a_sentence(url: str, remedy: str) -> None:
    code, line = purge(url)

    assert (code, line.count("\n")) == (1, 1)
    assert line.startswith("gatewayz-metrics: ")
    assert line.endswith(f"{remedy}\n")
