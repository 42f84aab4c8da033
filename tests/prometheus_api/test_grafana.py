"""The calls that Grafana makes, in its order, with its headers and parameters."""

import json

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.support import samples
from tests.support.client import Answer
from tests.support.engine import Engine

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "gzip"}
BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd", "X-Grafana-Cache": "private, max-age=86400"}
START, END = str(samples.START), str(samples.END)
SPAN = {"start": START, "end": END}
UP = 'provider_availability{env="production"}'


def data(answer: Answer) -> object:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["status"] == "success"
    return document["data"]


def truth(engine: Engine, path: str, params: dict[str, str]) -> object:
    return httpx.get(f"{engine.url}{path}", params=params).json()["data"]


def test_save_and_test(api: TestClient, prometheus: Engine) -> None:
    health = api.post("/api/v1/query", data={"query": "1+1", "time": "4"}, headers=FORM)
    assert data(health) == {"resultType": "scalar", "result": [4, "2"]}

    build = data(api.get("/api/v1/status/buildinfo"))
    assert build == truth(prometheus, "/api/v1/status/buildinfo", {})
    assert "features" not in json.dumps(build)


def test_datasource_start(api: TestClient) -> None:
    # The API reads seconds and Grafana sends milliseconds, so the year is about 57,000.
    probe = {"query": "test", "start": str(1000 * samples.START), "end": str(1000 * samples.END)}
    assert data(api.post("/api/v1/query_exemplars", data=probe, headers=BROWSER)) == []
    assert data(api.get("/api/v1/query_exemplars", params=probe)) == []
    assert data(api.get("/api/v1/rules", headers=BROWSER)) == {"groups": []}


def test_editor_start(api: TestClient, prometheus: Engine) -> None:
    names = data(api.get("/api/v1/label/__name__/values", params=SPAN, headers=BROWSER))
    assert names == truth(prometheus, "/api/v1/label/__name__/values", SPAN)
    limited = data(api.get("/api/v1/label/__name__/values", params={**SPAN, "limit": "40000"}, headers=BROWSER))
    assert limited == names
    assert isinstance(data(api.get("/api/v1/metadata", headers=BROWSER)), dict)
    assert data(api.post("/api/v1/labels", data=SPAN, headers=FORM)) == truth(prometheus, "/api/v1/labels", SPAN)


def test_autocompletion(api: TestClient, prometheus: Engine) -> None:
    matched = {**SPAN, "match[]": UP}
    assert data(api.post("/api/v1/labels", data=matched, headers=FORM)) == truth(prometheus, "/api/v1/labels", matched)
    values = truth(prometheus, "/api/v1/label/provider/values", matched)
    assert values
    assert data(api.get("/api/v1/label/provider/values", params=matched, headers=BROWSER)) == values
    # Grafana 13 sends this by POST when its datasource says POST; Prometheus itself answers 405.
    assert data(api.post("/api/v1/label/provider/values", data=matched, headers=FORM)) == values
    series = {**matched, "limit": "40000"}
    assert data(api.post("/api/v1/series", data=series)) == truth(prometheus, "/api/v1/series", series)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/api/v1/label/job/values", SPAN),
        ("/api/v1/label/env/values", {**SPAN, "match[]": "cache_size_bytes"}),
        ("/api/v1/labels", {**SPAN, "match[]": '{__name__=~".*cache.*"}'}),
        ("/api/v1/query", {"query": f"topk(2, {UP})", "time": END}),
        ("/api/v1/series", {**SPAN, "match[]": 'up or {job="gateway",env="bare"}'}),
        ("/api/v1/series", {**SPAN, "match[]": '{job="gateway",env="bare"}'}),
    ],
)
def test_variables(api: TestClient, prometheus: Engine, path: str, params: dict[str, str]) -> None:
    direct = httpx.get(f"{prometheus.url}{path}", params=params)

    ours = api.get(path, params=params, headers=BROWSER)

    assert (ours.status_code, ours.json()) == (direct.status_code, direct.json())


def test_explore_asks_a_range_and_an_instant(api: TestClient, prometheus: Engine) -> None:
    span = {"query": f"rate({UP}[1m0s])", **SPAN, "step": "15"}
    moment = {"query": f"rate({UP}[1m0s])", "time": f"{END}.781"}
    assert data(api.post("/api/v1/query_range", data=span, headers=FORM)) == truth(
        prometheus, "/api/v1/query_range", span
    )
    assert data(api.post("/api/v1/query", data=moment, headers=FORM)) == truth(prometheus, "/api/v1/query", moment)


def test_drilldown(api: TestClient) -> None:
    # This path knows no start and end, and the same text as a label filter says nothing of them.
    asked = {"query": "count(target_info) by (job)", **SPAN}
    assert data(api.get("/api/v1/query", params=asked)) == {"resultType": "vector", "result": []}
    assert data(api.get("/api/v1/label/deployment_environment/values", params=SPAN)) == []


def test_alerting(api: TestClient) -> None:
    rule = {"query": f"min({UP})", "time": END}
    first = api.post("/api/v1/query", data=rule, headers={**FORM, "FromAlert": "true"})
    again = api.post("/api/v1/query", data=rule, headers={**FORM, "FromAlert": "true"})
    assert data(first) == data(again)
    assert [answer.headers["X-Cache"] for answer in (first, again)] == ["miss", "miss"]
    assert data(api.get("/api/v1/rules", params={"exclude_alerts": "true", "group_limit": "40"})) == {"groups": []}
    assert data(api.get("/api/v1/alerts")) == {"alerts": []}
    assert data(api.get("/api/v1/status/buildinfo"))

    probe = api.get("/rules/test/test")
    assert probe.status_code == 404
    assert "page not found" in probe.text


def test_an_annotation_and_a_panel_share_what_they_have_in_common(api: TestClient) -> None:
    asked = {"query": "changes(provider_availability[1m])", **SPAN, "step": "60"}
    api.post("/api/v1/query_range", data=asked, headers=FORM)

    assert api.get("/api/v1/query_range", params=asked).headers["X-Cache"] == "hit"


def test_statistics_of_the_query_inspector_pass(api: TestClient) -> None:
    asked = {"query": UP, **SPAN, "step": "60", "stats": "all"}

    answer = api.post("/api/v1/query_range", data=asked, headers=FORM)

    assert answer.headers["X-Cache"].startswith("bypass; reason=stats")
    assert answer.json()["data"]["stats"]["samples"]
