"""Metadata of counters that an engine keeps under another name than that of their samples."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from gatewayz_demo import processes
from gatewayz_metrics.catalogue import load

from tests.support.client import serving
from tests.support.fake_upstream import FakeUpstream, answering
from tests.support.waiting import wait_until

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
EXPOSED = b"""\
# TYPE fastapi_requests counter
fastapi_requests_total{app_name="a"} 1
# TYPE other counter
other_total 1
# TYPE http_request_duration_seconds gauge
http_request_duration_seconds 1
# EOF
"""
KNOWN = load().by_name["fastapi_requests_total"]
OURS = [{"type": "counter", "help": KNOWN.help, "unit": ""}]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that scrapes OpenMetrics."""
    with FakeUpstream(answering(EXPOSED, Content_Type=OPENMETRICS)) as exporter:
        target = exporter.url.removeprefix("http://")
        config = f"scrape_configs: [{{job_name: x, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}]}}]"
        with processes.start_prometheus(tmp_path_factory.mktemp("scraped") / "tsdb", config) as process:
            wait_until(lambda: "other" in httpx.get(f"{process.url}/api/v1/metadata").json()["data"])
            yield process.url


@pytest.fixture(scope="module")
def client(engine: str) -> Iterator[TestClient]:
    with serving(engine) as found:
        yield found


def metadata(client: TestClient, **params: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/v1/metadata", params=params).json()["data"]
    return found


def test_a_counter_is_found_under_the_name_of_its_samples(client: TestClient, engine: str) -> None:
    upstream = httpx.get(f"{engine}/api/v1/metadata").json()["data"]
    assert "fastapi_requests_total" not in upstream

    assert metadata(client) == upstream | {"fastapi_requests_total": OURS}


def test_it_is_found_by_name(client: TestClient) -> None:
    assert metadata(client, metric="fastapi_requests_total") == {"fastapi_requests_total": OURS}


@pytest.mark.parametrize("params", [{"metric": "other_total"}, {"metric": "fastapi_requests"}])
def test_everything_else_is_as_the_engine_says_it(client: TestClient, engine: str, params: dict[str, str]) -> None:
    upstream = httpx.get(f"{engine}/api/v1/metadata", params=params).content

    assert client.get("/api/v1/metadata", params=params).content == upstream


def test_a_limit_holds(client: TestClient) -> None:
    assert len(metadata(client, limit="1")) == 1


def test_the_engines_own_words_are_kept() -> None:
    said = b'{"status":"success","data":{"fastapi_requests_total":[{"type":"counter","help":"Its own.","unit":""}]}}'
    with FakeUpstream(answering(said)) as upstream, serving(upstream.url) as client:
        assert client.get("/api/v1/metadata").content == said


def test_a_refusal_goes_on_as_it_came(engine: str) -> None:
    with serving(engine) as client:
        response = client.get("/api/v1/metadata", params={"limit": "x"})

    assert response.status_code == 400
    assert response.content == httpx.get(f"{engine}/api/v1/metadata", params={"limit": "x"}).content
