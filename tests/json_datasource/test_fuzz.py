"""Whatever JSON arrives, the answer is JSON of the right shape, or an error that a panel can show."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.json_datasource.test_routes import PATHS

some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["up", "http_rps", "traffic.rate", "request_seconds", "label_values(up, job)", "$__range", "{", "sum("]
    ),
    # Long, longer when it is percent-encoded, nested, and what counts as more than one.
    st.builds(
        lambda text, times, around: around % (text * times),
        st.sampled_from(["x", "{", "+up", "{{job}}", "[", "\\", '"', "é", "\n", "a|"]),
        st.sampled_from([300, 3000, 30_000]),
        st.sampled_from(["%s", "up%s", "label_values(%s, job)", "query_result(up%s)", "metrics(%s)"]),
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
NAMES = [
    *("targets", "range", "intervalMs", "maxDataPoints", "timezone", "scopedVars", "filters", "adhocFilters"),
    *("metric", "payload", "name", "target", "key", "timeRange", "annotation"),
]
KNOBS = [
    *("function", "by", "window", "format", "legend", "instant", "join", "step", "unit", "job", "status", "le"),
    *("filters", "title", "tags"),
]

targets = st.fixed_dictionaries(
    {"refId": values, "target": texts},
    optional={
        "payload": st.one_of(values, st.dictionaries(st.sampled_from(KNOBS), values, max_size=4)),
        "type": values,
        "hide": values,
    },
)
bodies = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(values, st.lists(st.one_of(values, targets), max_size=3)),
    max_size=6,
)


def refused(literal: str) -> Any:
    raise AssertionError(f"{literal} is no JSON")


@some
@pytest.mark.parametrize("path", PATHS)
@given(body=st.one_of(values, bodies))
def test_any_json_has_an_answer(client: TestClient, path: str, body: object) -> None:
    text = json.dumps(body)

    response = client.post(path, content=text.encode())

    found = json.loads(response.content, parse_constant=refused)
    if response.status_code == 200:
        assert isinstance(found, list)
    else:
        assert response.status_code in (400, 404, 413), response.text
        assert found["message"] == found["error"]["message"]
        assert found["error"]["code"]


@some
@given(st.lists(targets, max_size=3))
def test_any_targets_have_an_answer(client: TestClient, found: list[dict[str, Any]]) -> None:
    hour = {"from": "2025-05-01T10:00:00Z", "to": "2025-05-01T11:00:00Z"}
    response = client.post("/query", content=json.dumps({"targets": found, "range": hour}).encode())

    assert response.status_code in (200, 400), response.text
    assert json.loads(response.content, parse_constant=refused) is not None
