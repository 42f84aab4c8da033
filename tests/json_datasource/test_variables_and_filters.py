"""Variables and ad-hoc filters against the engine: every form, narrowed and limited."""

import pytest
from fastapi.testclient import TestClient

from tests.json_datasource import recorded_data
from tests.json_datasource.asking import Element, answer, assert_error
from tests.support.engine import Engine

HOUR = {"from": "2025-05-01T10:00:00.000Z", "to": "2025-05-01T11:00:00.000Z"}
API = ["10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090"]


def variable(client: TestClient, payload: object) -> list[str]:
    rows = answer(client.post("/variable", json={"payload": payload, "range": HOUR}))
    assert all(row.keys() == {"__text", "__value"} and row["__text"] == row["__value"] for row in rows)
    return [row["__value"] for row in rows]


VARIABLES: list[tuple[object, list[str]]] = [
    ({"target": "label_values(job)"}, ["api", "wide", "web"]),
    ({"target": 'label_values(up{job="web"}, instance)'}, ["a.b:1", "c.d:2"]),
    ({"target": r'label_values(up{instance=~"(a\.b:1|c\.d:2)"}, job)'}, ["web"]),
    ({"target": "label_names(ALERTS)"}, ["__name__", "alertname", "alertstate", "job", "severity"]),
    ({"target": "metrics(build)"}, ["build_info"]),
    ({"target": "metrics(^query_)"}, ["query_seconds_count", "query_seconds_sum"]),
    ({"target": "label_values", "label": "instance", "job": "(api|web)", "metric": "up"}, [*API, "a.b:1", "c.d:2"]),
    ({"target": "metrics", "match": "gap"}, ["gappy"]),
]


@pytest.mark.parametrize(("payload", "values"), VARIABLES, ids=[str(payload) for payload, _ in VARIABLES])
def test_every_form(client: TestClient, payload: object, values: list[str]) -> None:
    assert sorted(variable(client, payload)) == sorted(values)


def test_query_results_hold_series_value_and_time(client: TestClient) -> None:
    found = variable(client, {"target": 'query_result(sum by (job) (up{job="api"}))'})

    assert found == [f'{{job="api"}} 3 {(recorded_data.TEN + 3600) * 1000}']


def test_targets_are_the_catalogues_names(client: TestClient) -> None:
    assert {"traffic.rate", "http_rps"} <= set(variable(client, {"target": "targets"}))


def test_the_range_narrows(client: TestClient) -> None:
    early = {"from": "2024-05-01T10:00:00.000Z", "to": "2024-05-01T11:00:00.000Z"}

    assert answer(client.post("/variable", json={"payload": {"target": "label_values(job)"}, "range": early})) == []


def test_what_is_no_form_names_the_forms(client: TestClient) -> None:
    response = client.post("/variable", json={"payload": {"target": "instances of up"}})

    assert_error(response, 400, "invalid_query", "label_values(selector, label)", "query_result")


def tags(client: TestClient, path: str, **body: object) -> list[str]:
    return [tag["text"] for tag in answer(client.post(path, json={"timeRange": HOUR} | body))]


NARROWED: list[tuple[list[Element], list[str]]] = [
    ([], [*API, "a.b:1", "c.d:2"]),
    ([{"key": "job", "operator": "=", "value": "web"}], ["a.b:1", "c.d:2"]),
    ([{"key": "job", "operator": "!=", "value": "web"}], API),
    ([{"key": "job", "operator": "!~", "value": "a.*"}], ["a.b:1", "c.d:2"]),
    ([{"key": "job", "operator": "=~", "value": ".*"}], [*API, "a.b:1", "c.d:2"]),
    ([{"key": "job", "operator": "!=|", "value": "api", "values": ["api"]}], ["a.b:1", "c.d:2"]),
    ([{"key": "instance", "operator": "=", "value": "a.b:1"}], [*API, "a.b:1", "c.d:2"]),  # its own key
    (
        [{"key": "job", "operator": "=", "value": ""}, {"key": "", "operator": "", "value": ""}],
        [*API, "a.b:1", "c.d:2"],
    ),
    ([{"key": "status", "operator": "<", "value": "3"}], [*API, "a.b:1", "c.d:2"]),
]


@pytest.mark.parametrize(("filters", "values"), NARROWED, ids=[str(filters) for filters, _ in NARROWED])
def test_values_are_narrowed_by_the_others(client: TestClient, filters: list[Element], values: list[str]) -> None:
    assert tags(client, "/tag-values", key="instance", filters=filters) == values


def test_keys_are_narrowed(client: TestClient) -> None:
    found = tags(client, "/tag-keys", filters=[{"key": "severity", "operator": "=", "value": "page"}])

    assert found == ["alertname", "alertstate", "job", "severity"]


def test_a_key_that_nothing_has(client: TestClient) -> None:
    assert tags(client, "/tag-values", key="nothing") == []
    assert tags(client, "/tag-values") == []


@pytest.mark.parametrize("key", ["../../admin", "a b", "%2e%2e", 'x"} or up', "ünï"])
def test_odd_keys_reach_no_other_path(client: TestClient, key: str) -> None:
    response = client.post("/tag-values", json={"key": key})

    assert response.status_code in (200, 400)
    assert response.json() == [] or response.json()["message"]


def test_lists_are_limited(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewayz_metrics.json_datasource.editor._MOST_TAGS", 7)

    assert len(tags(client, "/tag-values", key="n")) == 7


def test_the_same_values_from_every_engine(engine: Engine) -> None:
    from tests.support.client import serving
    from tests.support.samples import END, START

    span = {"from": START * 1000, "to": END * 1000}
    with serving(engine.url, prometheus_engine=engine.name) as client:
        body = {"payload": {"target": 'label_values(provider_error_rate{env="production"}, provider)'}, "range": span}
        found = [row["__value"] for row in answer(client.post("/variable", json=body))]
        keys = answer(client.post("/tag-keys", json={"timeRange": span}))
        body = {"targets": [{"refId": "A", "target": "provider_error_rate"}], "range": span}
        series = answer(client.post("/query", json=body))

    assert found == ["anthropic", "google-vertex", "groq", "openai"]
    assert {"env", "provider", "model"} <= {key["text"] for key in keys}
    assert len(series) == 5  # of all deployments
