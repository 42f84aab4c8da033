"""Statistics over a window that scrapes do not fill say so, on a real engine, without a request more."""

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.catalogue.scrape_gaps import find_gap_checks
from gatewayz_metrics.promql.build import Slots
from gatewayz_metrics.query import _STATISTIC_GROUPS

from tests.range_cache.relay import Relay
from tests.support import samples
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream

CATALOGUE = load()
SECTIONS = {s.section for s in CATALOGUE.statistics if "[$window]" in s.expr}


def warnings(client: TestClient, time: int) -> list[str]:
    found: list[str] = client.get("/prometheus/metrics/summary", params={"time": time}).json().get("warnings", [])
    return found


@pytest.mark.parametrize(
    ("time", "where"),
    [
        (samples.START + 100, "in the first 75s of the 5m"),
        (samples.END + 200, "in the last 75s of the 5m"),
        (samples.START + 1800, None),
        (samples.START + 305, None),
        (samples.END + 30, None),
        (samples.START - 3600, None),
    ],
    ids=["it began within the window", "it ended within the window", "whole", "just whole", "just ended", "nothing"],
)
def test_a_window_that_scrapes_do_not_fill_is_told(engine: Engine, time: int, where: str | None) -> None:
    options = {"prometheus_engine": engine.name} if engine.name != "prometheus" else {}
    with FakeUpstream(Relay(engine.url)) as fake:
        with serving(fake.url, selector='env="production"', **options) as client:
            told = warnings(client, time)
        assert len(fake.requests) == _STATISTIC_GROUPS
    if where is None:
        assert told == []
        return
    assert len(told) == len(SECTIONS)
    (http,) = (text for text in told if "http.request_rate_per_minute" in text)
    assert where in http
    assert "http.error_rate" in http
    assert http.startswith("fastapi_requests_total has no samples")


def test_a_section_alone_tells_its_own(prometheus: Engine) -> None:
    with serving(prometheus.url, selector='env="production"') as client:
        document = client.get(
            "/prometheus/metrics/summary", params={"time": samples.START + 100, "category": "database"}
        ).json()
    (text,) = document["warnings"]
    assert "database.avg_query_latency_ms" in text
    assert "http." not in text


@pytest.mark.parametrize(("scrape", "checked"), [(15, SECTIONS), (37.5, SECTIONS), (60, set())])
def test_a_window_of_few_scrapes_is_not_judged(scrape: float, checked: set[str]) -> None:
    checks = find_gap_checks(CATALOGUE.statistics, Slots(), scrape)
    assert {name.partition(".")[0] for name in checks} == checked
