"""Errors that a panel and Save & test can both show, and one target's failure beside others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.catalogue import load

from tests.json_datasource.asking import answer, assert_error, executed, notices, panel, panels, question
from tests.json_datasource.recorded_data import INSTANCE_COUNT
from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream

POSTS = ["/query", "/metric-payload-options", "/variable", "/tag-keys", "/tag-values", "/annotations"]
HOUR = {"from": "2025-05-01T10:00:00.000Z", "to": "2025-05-01T11:00:00.000Z"}
BODIES: dict[str, Any] = {
    "/query": question([{"refId": "A", "target": "up"}]),
    "/metric-payload-options": {"metric": "http_rps", "name": "job"},
    "/variable": {"payload": {"target": "label_values(up, job)"}, "range": HOUR},
    "/tag-keys": {},
    "/tag-values": {"key": "job"},
    "/annotations": {"range": HOUR, "annotation": {"name": "A", "query": "up"}},
}


@pytest.fixture(scope="module")
def down(catalogue: Path) -> Iterator[TestClient]:
    """The service over a port that nobody listens on."""
    with serving(catalogue=catalogue) as found:
        yield found


def test_save_and_test_says_that_the_upstream_is_down(down: TestClient) -> None:
    assert_error(down.get("/"), 502, "unreachable", "127.0.0.1:9", "PROMETHEUS_URL")


@pytest.mark.parametrize("path", POSTS)
def test_every_route_says_so(down: TestClient, path: str) -> None:
    response = down.post(path, json=BODIES[path])

    # Once it has failed a few times the upstream gets a pause, which is another code for the same thing.
    code = response.json()["error"]["code"]
    assert code in ("unreachable", "suspended")
    assert_error(response, 503 if code == "suspended" else 502, code, "127.0.0.1:9")


def test_what_needs_no_upstream_is_served(down: TestClient, catalogue: Path) -> None:
    names = [entry.name for entry in (*load(catalogue).statistics, *load(catalogue).families)]

    assert [entry["value"] for entry in answer(down.post("/metrics", json={}))] == names
    assert answer(down.post("/variable", json={"payload": {"target": "targets"}}))[0].keys() == {"__text", "__value"}


BEHAVIOURS: list[tuple[fakes.Behaviour, int, str]] = [
    (fakes.html, 502, "bad_response"),
    (fakes.invalid_json, 502, "bad_response"),
    (fakes.garbage, 502, "connection_lost"),
    (fakes.redirect, 502, "redirect"),
    (fakes.hang, 504, "timeout"),
]


@pytest.mark.parametrize(("behaviour", "status", "code"), BEHAVIOURS, ids=[code for _, _, code in BEHAVIOURS])
def test_upstream_failures_keep_their_own_status(behaviour: fakes.Behaviour, status: int, code: str) -> None:
    with FakeUpstream(behaviour) as fake, serving(fake.url, prometheus_range_timeout=0.3) as client:
        response = client.post("/query", json=BODIES["/query"])

    assert_error(response, status, code, "target A: ")


def test_one_bad_target_keeps_the_others(client: TestClient) -> None:
    *good, bad = panels(client, [{"refId": "A", "target": "up"}, {"refId": "B", "target": "sum("}])

    assert [element["refId"] for element in good] == ["A"] * INSTANCE_COUNT
    assert bad == {"refId": "B", "target": bad["target"], "fields": [], "datapoints": [], "meta": bad["meta"]}
    assert bad["meta"]["notices"][0]["severity"] == "error"
    assert notices(bad)[0].startswith("target B: The upstream refuses the query")
    assert executed(bad).startswith("Expr: sum(\n")


def test_all_bad_targets_are_named(client: TestClient) -> None:
    targets = [{"refId": "A", "target": "sum("}, {"refId": "B", "target": "$nothing"}]

    assert_error(
        client.post("/query", json=question(targets)), 400, "query_refused", "target A: ", "target B: ", "$nothing"
    )


REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("http_rps", {"function": "p95"}, ["function", "'p95'", "there are raw"]),
    ("request_seconds", {"function": "median"}, ["'median'", "p95"]),
    ("request_seconds", {"window": "soon"}, ["window", "'soon'", "30s"]),
    ("request_seconds", {"window": "5m]) or up or rate(up[5m"}, ["window"]),
    ("request_seconds", {"format": "xml"}, ["format", "'xml'", "time_series, table, heatmap, frame"]),
    ("request_seconds", {"instant": "perhaps"}, ["instant", "'perhaps'"]),
    ("request_seconds", {"step": "-5"}, ["step", "'-5'"]),
    ("http_requests_total", {"format": "heatmap"}, ["heatmap", "histogram"]),
    ("instances", {"by": ["job"]}, ["grouping", "by"]),
    ("up", {"instant": "true", "format": "nothing"}, ["format"]),
    ("up[5m]", {"instant": "true"}, ["range"]),
    ('"text"', {"instant": "true"}, ["text", "numbers"]),
    ("rate(up[$nope])", {}, ["$nope"]),
]


@pytest.mark.parametrize(("target", "payload", "words"), REFUSED, ids=[f"{t}-{p}" for t, p, _ in REFUSED])
def test_refusals_say_what_helps(client: TestClient, target: str, payload: dict[str, Any], words: list[str]) -> None:
    response = client.post("/query", json=question([{"refId": "A", "target": target, "payload": payload}]))

    assert response.status_code == 400
    message = response.json()["message"]
    assert message.startswith("target A: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("operator", ["<", ">"])
def test_orders_of_labels_are_refused_by_name(client: TestClient, operator: str) -> None:
    filters = [{"key": "status", "operator": operator, "value": "400"}]
    body = question([{"refId": "A", "target": "up"}], filters=filters)

    assert_error(client.post("/query", json=body), 400, "invalid_query", "'status'", f"'{operator}'", "target A")


BROKEN: list[tuple[bytes, list[str]]] = [
    (b"{", ["not JSON"]),
    (b"\xff\xfe", ["not JSON"]),
    (b'{"targets": NaN}', ["not JSON"]),
    (b"[" * 100_000, ["not JSON"]),
    (b"[]", ["body"]),
    (b'"up"', ["body"]),
    (b"{}", ["targets"]),
    (b"", ["targets"]),
    (b"null", ["targets"]),
    (b'{"targets": "up"}', ["targets"]),
    (b'{"targets": [], "range": {"from": "yesterday"}}', ["range.from"]),
    (b'{"targets": [], "range": {"from": 2000, "to": 1000}}', ["ends before it begins"]),
]


@pytest.mark.parametrize(("body", "words"), BROKEN, ids=[repr(body[:40]) for body, _ in BROKEN])
def test_broken_bodies_are_refused_readably(client: TestClient, body: bytes, words: list[str]) -> None:
    response = client.post("/query", content=body, headers={"content-type": "application/json"})

    assert response.status_code == 400, response.text
    message = response.json()["message"]
    assert response.json()["error"]["message"] == message
    for word in words:
        assert word in message


def test_any_content_type_is_read(client: TestClient) -> None:
    body = b'{"targets": [{"refId": "A", "target": "vector(1)"}]}'

    found = answer(client.post("/query", content=body, headers={"content-type": "application/x-www-form-urlencoded"}))

    assert [element["refId"] for element in found] == ["A"]


def test_other_methods_and_paths_answer_in_the_same_shape(client: TestClient) -> None:
    assert_error(client.get("/query"), 405, "method_not_allowed", "POST")
    assert_error(client.put("/metrics"), 405, "method_not_allowed", "POST")
    assert_error(client.post("/"), 405, "method_not_allowed", "GET")


def test_get_metrics_stays_the_services_own_page(client: TestClient) -> None:
    page = client.get("/metrics")

    assert page.headers["content-type"].startswith("text/plain")
    assert "gatewayz_metrics_http_requests_total" in page.text


def test_nothing_asked_is_nothing_answered(client: TestClient) -> None:
    targets: list[dict[str, Any]] = [
        {"refId": "A", "target": ""},
        {"refId": "B", "target": "select metric"},
        {"refId": "C"},
        {"refId": "D", "target": "up", "hide": True},
        {"refId": "E", "target": None},
    ]

    assert panels(client, targets) == []
    assert panels(client, []) == []


def test_unknown_and_null_fields_change_nothing(client: TestClient) -> None:
    plain = panel(client, "up")
    decorated = panels(
        client,
        [{"refId": "A", "target": "up", "payload": None, "datasource": None, "hide": None, "key": 7, "alias": ["x"]}],
        **dict.fromkeys(["app", "requestId", "panelId", "scopedVars", "filters", "adhocFilters", "timezone", "scopes"]),
    )

    assert decorated == plain


def test_promql_can_be_switched_off(recorded_engine: Engine, catalogue: Path) -> None:
    with serving(recorded_engine.url, catalogue=catalogue, allow_promql=False) as client:
        refused = client.post("/query", json=question([{"refId": "A", "target": "up"}]))
        variable = client.post("/variable", json={"payload": {"target": "query_result(up)"}, "range": HOUR})
        kept = panel(client, "http_rps")

    assert_error(refused, 403, "promql_off", "target A", "'up'", "ALLOW_PROMQL")
    assert_error(variable, 403, "promql_off", "ALLOW_PROMQL")
    assert len(kept) == INSTANCE_COUNT


LIMITS: list[tuple[dict[str, Any], dict[str, Any], int, list[str]]] = [
    ({"max_targets": 2}, question([{"refId": "A", "target": "up"}] * 3), 400, ["3 queries", "MAX_TARGETS allows 2"]),
    ({"max_range": 1800}, BODIES["/query"], 400, ["3,600 seconds", "MAX_RANGE allows 1,800"]),
    ({"max_series": 4}, BODIES["/query"], 400, ["5 series", "MAX_SERIES allows 4"]),
    (
        {"max_query_length": 10},
        question([{"refId": "A", "target": "up" + " " * 10}]),
        400,
        ["12", "MAX_QUERY_LENGTH", "10"],
    ),
    ({"max_body_bytes": 1024}, question([{"refId": "A", "target": "up" * 1000}]), 413, ["1,024", "MAX_BODY_BYTES"]),
    ({"max_response_bytes": 1024}, BODIES["/query"], 502, ["1,024", "MAX_RESPONSE_BYTES"]),
]


@pytest.mark.parametrize(("settings", "body", "status", "words"), LIMITS, ids=[next(iter(s)) for s, *_ in LIMITS])
def test_limits_are_refused_with_a_sentence(
    recorded_engine: Engine, settings: dict[str, Any], body: dict[str, Any], status: int, words: list[str]
) -> None:
    with serving(recorded_engine.url, **settings) as client:
        response = client.post("/query", json=body)

    assert response.status_code == status, response.text
    for word in words:
        assert word in response.json()["message"]


def test_points_beyond_the_limit_widen_the_step(recorded_engine: Engine) -> None:
    with serving(recorded_engine.url, max_points=20) as client:
        [found] = panel(client, "vector(1)")

    assert 10 < len(found["datapoints"]) <= 20


def test_too_many_at_once_are_turned_away() -> None:
    with (
        FakeUpstream(fakes.hang) as fake,
        serving(fake.url, max_concurrent_queries=1, prometheus_range_timeout=0.3) as client,
    ):
        targets = [{"refId": name, "target": f"vector({number})"} for number, name in enumerate("ABC")]
        response = client.post("/query", json=question(targets))

    assert response.status_code in (503, 504)
    assert "MAX_CONCURRENT_QUERIES allows" in response.json()["message"]


def test_upstream_warnings_are_notices() -> None:
    with FakeUpstream(fakes.answering(_WARNED)) as fake, serving(fake.url) as client:
        found = panel(client, "up")

    assert [notices(element) for element in found] == [["only half of it"], []]


_WARNED = (
    b'{"status":"success","data":{"resultType":"matrix","result":['
    b'{"metric":{"a":"1"},"values":[[1746093600,"1"]]},{"metric":{"a":"2"},"values":[[1746093600,"2"]]}'
    b']},"warnings":["only half of it"]}'
)


def test_large_answers_are_packed_for_those_who_unpack(client: TestClient) -> None:
    body = BODIES["/query"]
    packed = client.post("/query", json=body, headers={"Accept-Encoding": "gzip"})
    plain = client.post("/query", json=body, headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert packed.headers["content-type"] == plain.headers["content-type"] == "application/json"
