"""History in an outage, as dashboards see it: what is kept, with a warning; rules get the error."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.http.rules import is_for_rule

from tests.range_cache.relay import Relay
from tests.support import samples
from tests.support.client import Answer, serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream, answering

START, KEPT, END = samples.START + 600, samples.START + 1800, samples.START + 2400
QUERY = 'sum(rate(fastapi_requests_total{env="production"}[5m]))'
TENANTS = {"prometheus_engine": "mimir", "api_tokens": ("service",), "tenants": {"a": "tenant-a", "b": "tenant-b"}}
DOWN = answering(b"<html>", "502 Bad Gateway", Content_Type="text/html")


@pytest.fixture
def relay(prometheus: Engine) -> Relay:
    return Relay(prometheus.url)


@pytest.fixture
def client(relay: Relay) -> Iterator[TestClient]:
    with FakeUpstream(relay) as fake, serving(fake.url) as found:
        yield found


def ask(client: TestClient, end: int, **headers: str) -> Answer:
    params = {"query": QUERY, "start": str(START), "end": str(end), "step": "15"}
    return client.get(
        "/api/v1/query_range", params=params, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def panel(client: TestClient, end: int, **headers: str) -> Answer:
    span = {"from": f"{START * 1000}", "to": f"{end * 1000}"}
    body = {"range": span, "intervalMs": 15_000, "maxDataPoints": 1000, "targets": [{"refId": "A", "target": QUERY}]}
    return client.post("/query", json=body, headers=headers)


def test_a_range_query_answers_with_what_is_kept(client: TestClient, relay: Relay) -> None:
    kept = ask(client, KEPT).json()["data"]
    relay.fault = DOWN

    answers = [ask(client, END) for _ in range(8)]

    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-cache"].startswith("stale; reason=")
        assert answer.json()["data"] == kept
        (warning,) = answer.json()["warnings"]
        assert "HTTP 502" in warning
        assert f"missing: {_rfc3339(KEPT + 15)} to {_rfc3339(END)}" in warning
    assert 'cache_lookups_total{cache="ranges",result="stale"} 8.0' in client.get("/metrics").text


def _rfc3339(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


MARKS = [
    {"FromAlert": "true"},
    {"X-Rule-Uid": "abc"},
    {"User-Agent": "vmalert/1.100"},
    {"User-Agent": "Thanos/0.36.0"},
    {"User-Agent": "Go-http-client/1.1"},
]


@pytest.mark.parametrize("cache_alerts", [False, True])
@pytest.mark.parametrize("mark", MARKS, ids=str)
def test_rules_get_the_error(relay: Relay, mark: dict[str, str], cache_alerts: bool) -> None:
    with FakeUpstream(relay) as fake, serving(fake.url, cache_alerts=cache_alerts) as client:
        ask(client, KEPT)
        panel(client, KEPT)
        relay.fault = DOWN
        assert ask(client, END, **mark).status_code == 503
        assert panel(client, END, **mark).status_code == 502


def test_dashboards_are_no_rules() -> None:
    assert not is_for_rule({"user-agent": "Grafana/11.6.0", "x-grafana-user": "ruth"})


def test_a_panel_of_the_json_datasource_has_a_notice(client: TestClient, relay: Relay) -> None:
    kept: Any = panel(client, KEPT).json()
    relay.fault = DOWN

    (shown,) = panel(client, END).json()

    assert shown["datapoints"] == kept[0]["datapoints"]
    (notice,) = shown["meta"]["notices"]
    assert notice["severity"] == "warning"
    assert "missing: " in notice["text"]


def test_nobody_gets_what_is_kept_for_another_tenant(relay: Relay) -> None:
    with FakeUpstream(relay) as fake, serving(fake.url, **TENANTS) as client:
        ask(client, KEPT, Authorization="Bearer a")
        relay.fault = DOWN
        assert ask(client, END, Authorization="Bearer b").status_code == 503
        assert ask(client, END, Authorization="Bearer service").status_code == 503
        assert ask(client, END, Authorization="Bearer a").status_code == 200


def test_with_nothing_kept_the_error_is_as_ever(client: TestClient, relay: Relay) -> None:
    relay.fault = DOWN
    answer = ask(client, END)
    assert (answer.status_code, answer.json()["errorType"]) == (503, "unavailable")
    assert panel(client, END).status_code == 502
