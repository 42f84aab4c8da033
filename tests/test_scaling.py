"""What docs/scaling.md tells to write: the proxy that keeps a query with its replica, and larger upstreams."""

import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from gatewayz_metrics.main import create_app
from gatewayz_metrics.settings import read_settings
from starlette.testclient import TestClient

from tests.bench import viewers
from tests.support import nginx
from tests.support.fake_upstream import FakeUpstream, answering, vector_body
from tests.support.pages import claim
from tests.support.server import address, listening

PAGE = Path(__file__).parents[1] / "docs/scaling.md"
TEXT = PAGE.read_text("utf-8")
EMPTY = answering(b'{"status":"success","data":{"resultType":"matrix","result":[]}}')


def blocks(language: str) -> list[str]:
    return [example.text for example in claim("docs/scaling.md", language)]


[PROXY] = blocks("nginx")


class Replicas:
    """Behind the documented proxy: who was asked what."""

    def __init__(self, upstreams: list[FakeUpstream], client: httpx.Client) -> None:
        self._upstreams = upstreams
        self.client = client

    def of(self, ask: Callable[[httpx.Client], httpx.Response], times: int = 4) -> set[int]:
        """The numbers of the replicas that some equal questions went to."""
        before = [len(one.requests) for one in self._upstreams]
        for _ in range(times):
            assert ask(self.client).status_code == 200
        after = [len(one.requests) for one in self._upstreams]
        assert sum(after) - sum(before) == times
        return {number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] < pair[1]}


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    text = PROXY
    with ExitStack() as stack:
        upstreams = [stack.enter_context(FakeUpstream(EMPTY)) for _ in range(3)]
        with listening() as free:
            port = int(address(free).partition(":")[2])
        text = text.replace("listen 8080", f"listen 127.0.0.1:{port}")
        for number, upstream in enumerate(upstreams, 1):
            text = text.replace(f"metrics-{number}:8000", upstream.address)
        url = stack.enter_context(nginx.running(text, tmp_path_factory.mktemp("nginx"), port))
        wait_for(port)
        client = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=60))
        yield Replicas(upstreams, client)


def wait_for(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=60).close()


def by_get(query: str, end: int) -> Callable[[httpx.Client], httpx.Response]:
    return lambda client: client.get("/api/v1/query_range", params={"start": 0, "end": end, "step": 15, "query": query})


def by_post(query: str, end: int) -> Callable[[httpx.Client], httpx.Response]:
    return lambda client: client.post("/api/v1/query_range", data={"query": query, "start": "0", "end": str(end)})


def by_panel(query: str, end: int) -> Callable[[httpx.Client], httpx.Response]:
    body = {
        "app": "dashboard",
        "range": {"to": end},
        "targets": [{"refId": "A", "target": query}],
        "maxDataPoints": end,
    }
    # As a browser writes it, without spaces.
    content = json.dumps(body, separators=(",", ":")).encode()
    return lambda client: client.post("/query", content=content, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("way", [by_get, by_post, by_panel])
def test_a_query_goes_to_the_same_replica_whatever_its_times(
    replicas: Replicas, way: Callable[[str, int], Callable[[httpx.Client], httpx.Response]]
) -> None:
    queries = [f'sum by (n) (rate(some_requests_total{{number="{number}"}}[5m]))' for number in range(24)]
    homes = {query: {home for end in (60, 75, 90) for home in replicas.of(way(query, end), 1)} for query in queries}

    assert {len(found) for found in homes.values()} == {1}
    # And different queries to all of them; by chance one stays empty in one of five thousand orders of the servers.
    assert set(Counter(min(found) for found in homes.values())) == {0, 1, 2}


def test_a_long_query_keeps_its_replica(replicas: Replicas) -> None:
    query = "sum(" + "x" * 65_000 + ")"

    assert len(replicas.of(by_post(query, 60)) | replicas.of(by_post(query, 75))) == 1


def test_a_route_without_a_query_goes_by_its_path(replicas: Replicas) -> None:
    assert len(replicas.of(lambda client: client.get("/prometheus/metrics/summary"))) == 1


@pytest.mark.parametrize("block", blocks("sh"), ids=["victoriametrics", "mimir", "thanos"])
def test_the_settings_of_a_larger_upstream_reach_it(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict(line.split("=", 1) for line in block.splitlines())
    with FakeUpstream(answering(vector_body([({}, "1")]))) as upstream:
        parts = urlsplit(given["PROMETHEUS_URL"])
        for name, value in given.items():
            monkeypatch.setenv(name, value.replace(parts.netloc, upstream.address))
        settings = read_settings()
        with TestClient(create_app(settings)) as client:
            assert client.get("/api/v1/query", params={"query": "up"}).status_code == 200
    asked = upstream.requests[-1]

    assert settings.engine.name == given["PROMETHEUS_ENGINE"]
    assert asked.path == f"{parts.path}/api/v1/query"
    assert asked.header("X-Scope-OrgID") == (["gatewayz"] if "PROMETHEUS_HEADERS" in given else [])


def test_the_table_of_viewers_is_what_the_simulation_counts() -> None:
    """One row of it: python -m tests.bench.viewers prints the others."""
    [row] = re.findall(r"^\| 10 \|.*$", TEXT, re.MULTILINE)
    panels = viewers.Panels.read()
    counts = f"{len(panels.ranges)} range queries over six hours, {len(panels.instants)} instant queries and "

    assert viewers.describe(10, 0.02, panels) == row
    assert f"{counts}{panels.summaries} summaries each time" in TEXT
