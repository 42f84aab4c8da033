"""What graphs of durations ask for exemplars with, answered by a Prometheus that keeps some."""

import json
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from gatewayz_demo import processes

from tests.dashboards import reading
from tests.dashboards.reading import PanelTarget
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream, answering
from tests.support.waiting import wait_until

ASKED = [
    target
    for uid in reading.uids()
    for target in reading.targets(reading.board(uid), "prometheus")
    if target.query.get("exemplar")
]
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
HISTOGRAMS = {
    "fastapi_requests_duration_seconds": 'app_name="gatewayz",path="/v1/chat/completions"',
    "model_inference_duration_seconds": 'provider="openai",model="gpt-4o"',
    "provider_response_time_seconds": 'provider="openai"',
}


def page() -> str:
    """A gateway whose slow requests each carry the id of a trace."""
    lines: list[str] = []
    for name, rest in HISTOGRAMS.items():
        labels = f'env="production",{rest}'
        lines += [
            f"# TYPE {name} histogram",
            f'{name}_bucket{{{labels},le="1.0"}} 9',
            f'{name}_bucket{{{labels},le="+Inf"}} 10 # {{trace_id="slow-{name}"}} 3.25',
            f"{name}_sum{{{labels}}} 7.5",
            f"{name}_count{{{labels}}} 10",
        ]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service over a Prometheus that scrapes such a gateway and keeps its exemplars."""
    with FakeUpstream(answering(page().encode(), Content_Type=OPENMETRICS)) as gateway:
        target = gateway.url.removeprefix("http://")
        job = {"job_name": "gateway", "scrape_interval": "1s", "scrape_timeout": "1s"}
        config = json.dumps({"scrape_configs": [job | {"static_configs": [{"targets": [target]}]}]})
        flags = ["--enable-feature=exemplar-storage"]
        folder = tmp_path_factory.mktemp("exemplars")
        with processes.start_prometheus(folder, config, extra_flags=flags) as engine, serving(engine.url) as found:
            wait_until(lambda: bool(exemplars(found, f"{next(reversed(HISTOGRAMS))}_bucket")))
            yield found


def exemplars(client: TestClient, promql: str) -> list[str]:
    """The traces that an expression's series have exemplars of."""
    now = time.time()
    form = {"query": promql, "start": f"{now - 3600:.3f}", "end": f"{now + 60:.3f}"}
    answer = client.post("/api/v1/query_exemplars", data=form)
    assert answer.status_code == 200, answer.text
    return sorted({each["labels"]["trace_id"] for series in answer.json()["data"] for each in series["exemplars"]})


@pytest.mark.parametrize("target", ASKED, ids=[target.place for target in ASKED])
def test_what_a_panel_asks_finds_its_exemplars(client: TestClient, target: PanelTarget) -> None:
    found = exemplars(client, reading.filled(target.query["expr"], env="production"))

    assert found == [f"slow-{name}" for name in HISTOGRAMS if f"{name}_bucket" in target.query["expr"]]
    assert len(found) == 1


def test_every_graph_of_durations_asks_once() -> None:
    """By the quantile that people look at; the others are of the same observations."""
    assert [target.place for target in ASKED] == [
        "gw-overview: Time to answer B",
        "gw-http: Mean and 95th percentile B",
        "gw-providers: 95th percentile by provider A",
        "gw-models: Time per call B",
        "gw-performance: Time to answer, percentiles C",
    ]
    assert all(target.panel["type"] == "timeseries" and target.query["range"] for target in ASKED)


def test_where_none_are_kept_there_are_none(prometheus: Engine) -> None:
    with serving(prometheus.url) as other:
        assert exemplars(other, "fastapi_requests_duration_seconds_bucket") == []
