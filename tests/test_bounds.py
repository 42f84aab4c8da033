"""Bounds that hold after expansion and in sum: what a caller writes is never multiplied before it is counted."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from gatewayz_metrics.bounded_store import remember_short
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.http import compression
from gatewayz_metrics.json_datasource.frames import fill_legend
from gatewayz_metrics.json_datasource.texts import LONGEST_TAG, LONGEST_TEXT, MOST_TEXT
from gatewayz_metrics.logs import TextFormatter
from gatewayz_metrics.metrics_api import formats, parameters, series_parameters
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.rewrite import add_matchers

from tests.json_datasource.asking import question
from tests.support import fake_upstream as fakes
from tests.support.client import serving
from tests.support.fake_upstream import FakeUpstream, answering
from tests.test_security import raw

HOUR = {"from": "2025-05-01T10:00:00.000Z", "to": "2025-05-01T11:00:00.000Z"}
EMPTY = answering(b'{"status":"success","data":[]}')


def matrix(series: int, *, points: int = 1, value: str = "v") -> bytes:
    """A success with so many series; every second point is zero, so that each other one is an event."""
    values = [[1_746_093_600 + 60 * step, str((step + 1) % 2)] for step in range(points)]
    result = [{"metric": {"n": f"{value}{number}"}, "values": values} for number in range(series)]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def filters(count: int, value: str = "v") -> list[dict[str, str]]:
    return [{"key": f"l{number}", "operator": "=", "value": value} for number in range(count)]


def selectors(count: int) -> str:
    return "+".join(["up"] * count)


# Filters times selectors.

_MEASURE = """
import json, sys, tracemalloc
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, create_app
from gatewayz_metrics.promql import rewrite

count, operands = map(int, sys.argv[1:])
filters = [{"key": f"l{number}", "operator": "=", "value": "v"} for number in range(count)]
panel = {"targets": [{"refId": "A", "target": "+".join(["up"] * operands)}], "adhocFilters": filters}
body = json.dumps(panel).encode()
put = []
rewrite._put = lambda *_: put.append(1)
with TestClient(create_app(Settings(prometheus_url="http://127.0.0.1:9", max_body_bytes=2**21))) as client:
    client.post("/query", content=b'{"targets":[{"refId":"A","target":"$nothing"}]}')
    tracemalloc.start()
    response = client.post("/query", content=body)
    print(json.dumps([response.status_code, tracemalloc.get_traced_memory()[1] / 2**20, len(put), response.text]))
"""


@pytest.mark.parametrize(
    ("count", "operands", "megabytes"),
    # The last passes every count and is read, which takes its memory whether or not there are filters.
    [(20_000, 10_000, 5), (3_900, 10_000, 5), (500, 500, 5), (100, 2_000, 5), (100, 10_000, 10)],
)
def test_filters_times_selectors_are_refused_before_they_are_expanded(
    count: int, operands: int, megabytes: int
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(count), str(operands)], capture_output=True, check=True, text=True
    )
    status, peak, put, text = json.loads(run.stdout)

    assert status == 400, text
    assert "lists and objects" in text or "100 are allowed" in text or "MAX_QUERY_LENGTH" in text
    assert put == 0
    assert peak < megabytes


def test_the_longest_query_that_is_allowed_is_sent() -> None:
    query = add_matchers(QueryText("up+up"), 'a="b"', 19)

    assert query.text == 'up{a="b"}+up{a="b"}'
    with pytest.raises(ValueError, match=r"15 characters.*MAX_QUERY_LENGTH allows 14"):
        add_matchers(QueryText("up+up"), 'a="b"', 14)


LONG = "x" * 70_000
# Each payload is the expansion of something short, or long by itself.
TOO_MUCH: list[tuple[str, dict[str, Any]]] = [
    ("/query", question([{"refId": "A", "target": "up"}], filters=filters(101))),
    ("/query", question([{"refId": "A", "target": "up"}], filters=filters(2, "v" * 40_000))),
    ("/query", question([{"refId": "A", "target": selectors(5000)}], filters=filters(1, "v" * 100))),
    # Each within the bound, all together not.
    ("/query", question([{"refId": "A", "target": selectors(100)}] * 40, filters=filters(10, "v" * 60))),
    ("/query", question([{"refId": "A", "target": "up" + " " * 60_000}] * 5)),
    (
        "/query",
        question(
            [{"refId": "A", "target": "up"}],
            filters=[{"key": "a", "operator": "=|", "value": "v", "values": ["v"] * 5001}],
        ),
    ),
    ("/query", question([{"refId": "A", "target": load().statistics[0].name, "payload": {"filters": {"a": LONG}}}])),
    ("/query", question([{"refId": "A" * 201, "target": "up"}])),
    ("/annotations", {"range": HOUR, "annotation": {"name": "A", "query": LONG}}),
    ("/annotations", {"range": HOUR, "annotation": {"name": "A", "query": "up", "payload": json.dumps(["["] * 9000)}}),
    ("/variable", {"payload": {"target": f"query_result({LONG})"}, "range": HOUR}),
    ("/variable", {"payload": {"target": f"label_values({LONG}, job)"}, "range": HOUR}),
    ("/variable", {"payload": {"target": f"metrics({LONG})"}, "range": HOUR}),
    (
        "/variable",
        {
            "payload": {"target": "label_values", "selector": selectors(5000), "label": "job", "a": "v" * 2000},
            "range": HOUR,
        },
    ),
    ("/search", {"target": LONG}),
    ("/search", {"target": f"label_values({LONG}, job)"}),
    ("/tag-keys", {"filters": filters(2, "v" * 40_000)}),
    ("/tag-values", {"key": "job", "filters": filters(101)}),
    ("/tag-values", {"key": LONG}),
    ("/metric-payload-options", {"metric": LONG, "name": "job"}),
    ("/metric-payload-options", {"metric": "up", "name": LONG}),
]


@pytest.mark.parametrize(("path", "body"), TOO_MUCH, ids=[f"{at} {path}" for at, (path, _) in enumerate(TOO_MUCH)])
def test_what_is_too_much_is_refused_and_never_sent(path: str, body: dict[str, Any]) -> None:
    # The payload of the stored annotation holds brackets in strings alone, which is no structure: it is answered.
    is_harmless = "annotation" in body and "payload" in body["annotation"]
    with FakeUpstream(answering(matrix(1))) as fake, serving(fake.url) as client:
        response = client.post(path, json=body)

    assert response.status_code == (200 if is_harmless else 400), response.text
    assert is_harmless or (fake.requests == [] and len(response.json()["message"]) < 2000)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/api/v1/query", {"query": LONG}),
        ("/api/v1/series", {"match[]": ["x" * 40_000, "y" * 40_000]}),
        ("/api/v1/labels", {"unknown": "x" * 20_000}),
        ("/api/v1/query", {"query": "up", "x" * 20_000: "1"}),
    ],
)
def test_parameters_of_the_api_are_bounded_in_sum(path: str, form: dict[str, Any]) -> None:
    with FakeUpstream(EMPTY) as fake, serving(fake.url) as client:
        response = client.post(path, data=form)

    assert response.status_code in (400, 422)
    assert response.json()["status"] == "error"
    assert fake.requests == []


# How much time is read.

DAY = {"start": "1746000000", "end": "1746086400"}


@pytest.mark.parametrize(
    ("path", "form", "is_refused"),
    [
        ("/api/v1/labels", DAY, True),
        ("/api/v1/label/job/values", DAY, True),
        ("/api/v1/series", {"match[]": "up", **DAY}, True),
        ("/api/v1/query_exemplars", {"query": "up", **DAY}, True),
        ("/api/v1/query_exemplars", {"query": "up"}, True),
        ("/api/v1/series", {"match[]": "up", "start": "1746000000"}, True),
        ("/api/v1/labels", {"start": "soon", "end": "1746000000"}, True),
        ("/api/v1/labels", {"start": "1746000000", "end": "1746003000"}, False),
        ("/api/v1/query", {"query": "max_over_time(rate(up[5m])[1h:])"}, True),
        ("/api/v1/query", {"query": "rate(up[5m] offset 1h)"}, True),
        ("/api/v1/query", {"query": "rate(up[$__range])"}, True),
        ("/api/v1/query", {"query": "up[1h"}, True),
        ("/api/v1/query", {"query": "rate(up[5m]) + rate(down[1h])"}, False),
    ],
)
def test_max_range_reaches_lists_and_subqueries(path: str, form: dict[str, str], *, is_refused: bool) -> None:
    with FakeUpstream(EMPTY) as fake, serving(fake.url, max_range=3600) as client:
        response = client.get(path, params=form)

    assert (response.status_code == 422) is is_refused, response.text
    assert ("MAX_RANGE" in response.text) is is_refused
    assert bool(fake.requests) is not is_refused


def test_a_list_without_a_start_reads_no_more_than_max_range() -> None:
    with FakeUpstream(EMPTY) as fake, serving(fake.url, max_range=3600) as client:
        client.get("/api/v1/labels", params={"end": "1746003600"})
        client.get("/api/v1/label/job/values")
        client.post("/tag-keys", json={})

    starts = [request.form["start"][0] for request in fake.requests]
    assert starts[0] == "1746000000"
    assert len(starts) == 3


@pytest.mark.parametrize("body", [{"payload": {"target": "query_result(max_over_time(up[2h]))"}}])
def test_max_range_reaches_variables_and_panels(body: dict[str, Any]) -> None:
    with FakeUpstream(EMPTY) as fake, serving(fake.url, max_range=3600) as client:
        variable = client.post("/variable", json=body)
        panel = client.post("/query", json=question([{"refId": "A", "target": "rate(up[2h])"}]))

    assert [variable.status_code, panel.status_code] == [400, 400]
    assert "MAX_RANGE" in variable.text
    assert "MAX_RANGE" in panel.text
    assert fake.requests == []


# PromQL switched off.

FREE: list[tuple[str, dict[str, str]]] = [
    ("/api/v1/query", {"query": "up"}),
    ("/api/v1/query_range", {"query": "up", **DAY, "step": "60"}),
    ("/api/v1/query_exemplars", {"query": "up", **DAY}),
    ("/api/v1/series", {"match[]": "up"}),
    ("/api/v1/labels", {"match[]": "up"}),
    ("/api/v1/label/job/values", {"match[]": "up"}),
    ("/api/v1/rules", {"match[]": '{a="b"}'}),
    ("/api/v1/format_query", {"query": "up"}),
    ("/api/v1/parse_query", {"query": "up"}),
    ("/api/v1/labels", {"extra_filters[]": '{a="b"}'}),
]


@pytest.mark.parametrize(("path", "form"), FREE, ids=[path for path, _ in FREE])
def test_without_promql_the_api_takes_no_selector(path: str, form: dict[str, str]) -> None:
    with (
        FakeUpstream(EMPTY) as fake,
        serving(fake.url, allow_promql=False, prometheus_engine="victoriametrics") as client,
    ):
        response = client.get(path, params=form)

    assert response.status_code == 403
    assert "ALLOW_PROMQL" in response.json()["error"]
    assert fake.requests == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ({"target": "label_values(up, job)"}, 403),
        ({"target": "label_names(up)"}, 403),
        ({"target": "query_result(up)"}, 403),
        ({"target": "label_values", "selector": "up", "label": "job"}, 403),
        ({"target": "label_values(job)"}, 200),
        ({"target": "label_names()"}, 200),
        ({"target": "metrics(up)"}, 200),
        ({"target": "label_values", "label": "job", "env": "prod"}, 200),
    ],
)
def test_without_promql_variables_take_no_selector(target: dict[str, str], status: int) -> None:
    with FakeUpstream(EMPTY) as fake, serving(fake.url, allow_promql=False) as client:
        response = client.post("/variable", json={"payload": target, "range": HOUR})
        listed = client.get("/api/v1/labels")

    assert response.status_code == status, response.text
    assert listed.status_code == 200


# Texts that an answer repeats.


@pytest.mark.parametrize("name", ["legend", "unit", "title", "text", "tags"])
def test_a_long_text_is_refused_before_it_is_asked_for(name: str) -> None:
    with FakeUpstream(answering(matrix(3))) as fake, serving(fake.url) as client:
        response = client.post("/query", json=panel({name: "x" * (LONGEST_TEXT + 1)}))

    assert response.status_code == 400
    assert name in response.json()["message"]
    assert fake.requests == []


def panel(payload: dict[str, Any], ref_id: str = "A") -> dict[str, Any]:
    return question([{"refId": ref_id, "target": "up", "payload": payload}])


def test_honest_legends_fit_and_all_texts_together_are_bounded() -> None:
    with FakeUpstream(answering(matrix(10_000))) as fake, serving(fake.url) as client:
        honest = client.post("/query", json=panel({"legend": "x" * 197 + "{{n}}"[:3]}))
        greedy = client.post("/query", json=panel({"legend": "x" * 500}))

    assert honest.status_code == 200
    assert len(honest.json()) == 10_000
    assert greedy.status_code == 400
    assert "once per series" in greedy.json()["message"]
    assert MOST_TEXT >= 200 * 10_000


@pytest.mark.parametrize("form", ["time_series", "frame"])
def test_the_query_stands_in_the_first_element_alone(form: str) -> None:
    query = "up" + " " * 50_000
    with FakeUpstream(answering(matrix(1000))) as fake, serving(fake.url) as client:
        body = question([{"refId": "A", "target": query, "payload": {"format": form}}])
        response = client.post("/query", json=body)

    assert response.status_code == 200
    assert response.text.count("executedQueryString") == 1
    assert len(response.content) < 2**20


def test_a_template_cannot_multiply_a_long_label() -> None:
    filled = fill_legend("{{a}}-" * 100, {"a": "v" * 100_000})

    assert len(filled) == LONGEST_TEXT
    assert filled.endswith("…")
    assert fill_legend("{{ a }}:{{b}}:{{none}}.", {"a": "1", "b": "2"}) == "1:2:."


def test_an_annotation_is_not_echoed_without_bound() -> None:
    annotation = {"name": "A", "query": "up", "note": "x" * 100_000}
    with FakeUpstream(answering(matrix(100, points=11))) as fake, serving(fake.url) as client:
        greedy = client.post("/annotations", json={"range": HOUR, "intervalMs": 60_000, "annotation": annotation})
        honest = client.post(
            "/annotations", json={"range": HOUR, "intervalMs": 60_000, "annotation": annotation | {"note": "x" * 500}}
        )

    assert greedy.status_code == 400
    assert len(honest.json()) == 600


def test_tags_of_events_are_short() -> None:
    annotation = {"name": "A", "query": "up", "payload": {"tags": ["{{n}}"] * 50}}
    with FakeUpstream(answering(matrix(1, value="v" * 5000))) as fake, serving(fake.url) as client:
        [event] = client.post("/annotations", json={"range": HOUR, "annotation": annotation}).json()
        annotation["payload"] = {"tags": ["t"] * 51}
        refused = client.post("/annotations", json={"range": HOUR, "annotation": annotation})

    assert {len(tag) for tag in event["tags"]} == {LONGEST_TAG}
    assert len(event["title"]) < 6000
    assert refused.status_code == 400


# Headers and caches that are keyed by what callers send.


def test_only_short_texts_are_remembered() -> None:
    asked: list[str] = []

    @remember_short(4, longest=10)
    def measure(text: str) -> int:
        asked.append(text)
        return len(text)

    assert [measure(text) for text in ("a", "a", "b" * 11, "b" * 11)] == [1, 1, 11, 11]
    assert asked == ["a", "b" * 11, "b" * 11]


@pytest.mark.parametrize("module", [compression, formats, parameters, series_parameters])
def test_nothing_that_callers_send_is_kept_by_a_cache_of_the_standard_library(module: object) -> None:
    assert not [name for name, value in vars(module).items() if hasattr(value, "cache_info")]


def test_a_giant_header_says_nothing() -> None:
    giant = "application/openmetrics-text;q=0.1," * 20_000
    with FakeUpstream(fakes.healthy) as fake, serving(fake.url) as client:
        page = client.get("/prometheus/metrics/all", headers={"Accept": giant, "Accept-Encoding": "gzip," * 20_000})

    assert page.headers["content-type"].startswith("text/plain")
    assert "content-encoding" not in page.headers


# No plain 500.

_DEEP: Any = {}
for _ in range(300):
    _DEEP = {"a": _DEEP}
LATE = {"from": 253402300798000, "to": 253402300799000}
FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/tag-values", {"json": {"key": "k" * 70_000}}),
    ("POST", "/tag-values", {"json": {"key": "k", "filters": filters(1, "v" * 70_000)}}),
    # Shorter than the limit, and longer when it is percent-encoded.
    ("POST", "/tag-values", {"json": {"key": "k", "filters": filters(1, "{" * 40_000)}}),
    ("POST", "/variable", {"json": {"payload": {"target": f'label_values({{a="{"{" * 40_000}"}}, job)'}}}),
    ("POST", "/search", {"json": {"target": f'label_values({{a="{"{" * 40_000}"}}, job)'}}),
    ("POST", "/api/v1/label/job/values", {"data": {"match[]": "{" * 60_000}}),
    ("POST", "/annotations", {"json": {"range": HOUR, "annotation": {"name": "A", "query": "up", "deep": _DEEP}}}),
    ("POST", "/query", {"json": question([{"refId": "A", "target": "up"}], scopedVars=_DEEP)}),
    ("POST", "/annotations", {"json": {"range": HOUR, "annotation": {"name": "N" * 500, "query": "up"}}}),
    (
        "POST",
        "/query",
        {
            "json": question([{"refId": "A", "target": "up"}], range=LATE, intervalMs=172_800_000)
            | {"timezone": "Asia/Tokyo"}
        },
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "sent"), FAULTS, ids=[f"{at} {path[:30]}" for at, (_, path, _) in enumerate(FAULTS)]
)
def test_no_request_is_a_fault_of_the_service(
    caplog: pytest.LogCaptureFixture, method: str, path: str, sent: dict[str, Any]
) -> None:
    with FakeUpstream(answering(matrix(2))) as fake, serving(fake.url) as client:
        response = client.request(method, path, **sent)

    assert response.status_code in (200, 400, 422, 502), response.text
    assert response.headers["content-type"] == "application/json"
    assert "failed" not in caplog.text


def test_a_label_whose_name_no_url_holds_is_refused() -> None:
    with FakeUpstream(EMPTY) as fake, serving(fake.url) as client:
        status, _, body = raw(client, "/api/v1/label/" + "`a`" * 15_000 + "/values")

    assert status == 400
    assert json.loads(body)["errorType"] == "bad_data"
    assert fake.requests == []


@pytest.mark.parametrize("url", ["http://xn--a.example:9090", "http://xn--a.example/prefix"])
def test_a_host_that_no_client_reads_is_told_at_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="PROMETHEUS_URL cannot be used"), serving(url):
        pass


def test_a_long_query_is_refused_once_the_upstream_takes_no_post() -> None:
    def get_alone(exchange: fakes.Exchange) -> None:
        is_post = exchange.request.method == "POST"
        exchange.reply(b"no" if is_post else matrix(1), "405 Method Not Allowed" if is_post else "200 OK")

    with FakeUpstream(get_alone) as fake, serving(fake.url) as client:
        short = client.get("/api/v1/query", params={"query": "up"})
        long = client.post("/api/v1/query", data={"query": "{" * 60_000})

    assert short.status_code == 200
    assert long.status_code == 400
    assert "URL" in long.json()["error"]


def wrong(metric: str = '{"a":"b"}', time: str = "1746093600") -> bytes:
    return (
        '{"status":"success","data":{"resultType":"matrix","result":'
        f'[{{"metric":{metric},"values":[[{time},"1"]]}}]}}}}'
    ).encode()


@pytest.mark.parametrize("form", ["time_series", "frame", "table", "heatmap"])
@pytest.mark.parametrize(
    "body",
    [
        wrong('{"a":1}'),
        wrong('{"le":null}'),
        wrong('{"a":["b"]}'),
        wrong('{"le":{}}'),
        wrong("[]"),
        wrong(time="1e300"),
        wrong(time="-1e300"),
        wrong(time="1e15"),
        wrong(time='"1"'),
    ],
)
def test_malformed_labels_and_times_are_a_bad_answer(form: str, body: bytes) -> None:
    with FakeUpstream(answering(body)) as fake, serving(fake.url, cache_range=False) as client:
        response = client.post("/query", json=panel({"format": form, "instant": "false"}))

    assert response.status_code == 502, response.text
    assert response.json()["error"]["code"] == "bad_response"


def test_a_timeout_of_the_upstream_is_no_fault_of_the_query() -> None:
    timeout = answering(fakes.error_body("timeout", "query timed out in expression evaluation"), "422 Unprocessable")
    with FakeUpstream(timeout) as fake, serving(fake.url) as client:
        response = client.post("/query", json=panel({}))

    assert response.status_code == 504
    assert response.json()["error"]["code"] == "timeout"


GOOD_BUILDINFO = answering(b'{"status":"success","data":{"version":"3.1.0","features":{"a":"b"}}}')


@pytest.mark.parametrize("body", [b'{"status":"success" garbage}', b"", b'{"status":"success","data":"\xff"}'])
def test_a_malformed_buildinfo_is_not_kept(body: bytes) -> None:
    status = "200 OK" if body else "204 No Content"
    malformed = answering(body, status) if body else (lambda exchange: exchange.send(b"HTTP/1.1 204 No\r\n\r\n"))
    with FakeUpstream(fakes.in_turn(malformed, GOOD_BUILDINFO)) as fake, serving(fake.url, cache_ttl=0) as client:
        first = client.get("/api/v1/status/buildinfo")
        second = client.get("/api/v1/status/buildinfo")
    assert (first.status_code, first.json()["status"]) == (503, "error")
    assert second.status_code in (200, 503)

    with FakeUpstream(fakes.in_turn(GOOD_BUILDINFO, malformed)) as fake, serving(fake.url, cache_ttl=0) as client:
        found = [client.get("/api/v1/status/buildinfo").json() for _ in range(3)]
    assert [each["data"] for each in found] == [{"version": "3.1.0"}] * 3


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every surface with a fault in it."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a\nERROR root: forged")

    for place in (
        "json_datasource.routes.editor.render_picker",
        "prometheus_api.handlers.ApiHandlers._check_length",
        "metrics_api.routes.parse_params",
    ):
        monkeypatch.setattr(f"gatewayz_metrics.{place}", fail)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/metrics"), ("GET", "/api/v1/query"), ("GET", "/prometheus/metrics/summary")]
)
def test_an_unexpected_fault_is_told_in_the_surfaces_words(
    caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    caplog.set_level(logging.INFO)
    with serving() as client:
        response = client.request(method, path, headers={"X-Request-Id": "caller-7"})
        second = client.request(method, path, headers={"X-Request-Id": "a b"})

    assert response.status_code == 500
    assert "caller-7" in response.text
    assert response.json().keys() & {"error", "message", "errorType"}
    assert response.headers["x-request-id"] == "caller-7"
    assert len(second.headers["x-request-id"]) == 32
    [line, _] = [record.getMessage() for record in caplog.records if record.name == "gatewayz_metrics.http.route"]
    assert "caller-7" in line
    assert path in line
    assert "ZeroDivisionError" in line
    assert "\n" not in line


def test_every_error_carries_the_request_id(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as client:
        refused = client.get("/prometheus/metrics/summary?time=soon", headers={"X-Request-Id": "r-1"})

    assert refused.status_code == 400
    assert refused.headers["x-request-id"] == "r-1"
    assert not caplog.records


# One line for each event.


@pytest.mark.parametrize(
    "send",
    [
        lambda client: client.post(
            "/tag-values",
            json={"key": "job", "filters": [{"key": "a", "operator": "=~", "value": "(\nERROR root: forged"}]},
        ),
        lambda client: client.post("/metric-payload-options", json={"metric": "up", "name": "job"}),
        lambda client: client.get("/prometheus/metrics/summary"),
    ],
)
def test_text_of_the_upstream_forges_no_line(caplog: pytest.LogCaptureFixture, send: Any) -> None:
    refusal = answering(fakes.error_body("bad_data", "x\r\nERROR root: forged\u2028\x1b[2J"), "400 Bad Request")
    with FakeUpstream(refusal) as fake, serving(fake.url) as client:
        send(client)

    messages = [record.getMessage() for record in caplog.records if record.name.startswith("gatewayz_metrics")]
    assert messages
    for message in messages:
        assert message.isprintable()
    assert any("forged" in message for message in messages)


def test_the_stand_alone_formatter_keeps_a_message_on_one_line() -> None:
    record = logging.LogRecord("lib", logging.ERROR, "file", 1, "seen: %s", ("a\nERROR root: forged",), None)

    assert TextFormatter().format(record).endswith(r"Z ERROR lib: seen: a\nERROR root: forged")
