"""Statistics and families over time: every point against the engine, cold and warm."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.catalogue import Family, Statistic, load
from gatewayz_metrics.metrics_api.series_rendering import name_columns
from gatewayz_metrics.promql.build import Slots
from gatewayz_metrics.promql.times import format_rfc3339, parse_rfc3339
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream, answering, error_body, wrong_type
from tests.support.samples import END, HOSTILE, START

CATALOGUE = load()
SERIES = "/prometheus/metrics/series"
PRODUCTION = 'env="production"'
HOUR: dict[str, Any] = {"start": START, "end": END, "step": 60}

Points = dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[int, float]]]


@pytest.fixture
def client(engine: Engine) -> Iterator[TestClient]:
    with serving(engine.url, selector=PRODUCTION) as found:
        yield found


def ask(client: TestClient, *names: str, **params: object) -> Any:
    response = client.get(SERIES, params=HOUR | {"name": list(names)} | params)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-upstream-status"] == "ok"
    return response.json()


def by_series(rows: list[dict[str, Any]]) -> Points:
    """Rows as points by name and labels."""
    found: Points = {}
    for row in rows:
        pairs = {key: value for key, value in row.items() if key not in ("time", "name", "value") and value}
        time = parse_rfc3339(row["time"])
        assert time is not None
        found.setdefault((row["name"], tuple(sorted(pairs.items()))), []).append((time, float(row["value"])))
    return found


def direct(engine: Engine, name: str, promql: str, **span: object) -> Points:
    """The same from the engine itself."""
    params = {"query": promql, **HOUR, **span}
    answer = httpx.get(f"{engine.url}/api/v1/query_range", params=params, trust_env=False)
    assert answer.status_code == 200, answer.text
    return {
        (name, tuple(sorted((key, value) for key, value in series["metric"].items() if key != "__name__"))): [
            (round(time * 1000), float(value)) for time, value in series["values"]
        ]
        for series in answer.json()["data"]["result"]
    }


def expected(engine: Engine, name: str, **span: object) -> Points:
    entry, slots = CATALOGUE.by_name[name], Slots(PRODUCTION)
    terms = entry.terms if isinstance(entry, Family) else ((entry.name, entry.template),)
    found: Points = {}
    for sample, template in terms:
        found |= direct(engine, sample, slots.fill(template), **span)
    return found


def _templates(entry: Family | Statistic) -> list[str]:
    return [term.template for term in entry.terms] if isinstance(entry, Family) else [entry.template]


def assert_same(engine: Engine, found: Points, truth: Points) -> None:
    """The same series and points; VictoriaMetrics adds up in another order each time it is asked."""
    if engine.name == "prometheus":
        assert found == truth
    assert {key: [time for time, _ in points] for key, points in found.items()} == {
        key: [time for time, _ in points] for key, points in truth.items()
    }
    for key, points in found.items():
        assert [value for _, value in points] == pytest.approx([value for _, value in truth[key]], rel=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "http.error_rate",
        "http.total_requests",
        "providers.degraded_providers",
        "fastapi_requests_total",
        "provider_error_rate",
        "fastapi_requests_duration_seconds",
        "fastapi_requests_duration_seconds_quantile",
        "database_query_duration_seconds",
    ],
)
def test_every_point_is_the_engines_cold_and_warm(engine: Engine, client: TestClient, name: str) -> None:
    truth = expected(engine, name)
    cold = ask(client, name, format="rows")
    # Half of it is known by now.
    longer = ask(client, name, format="rows", start=START - 1800)
    warm = ask(client, name, format="rows")

    assert truth
    assert_same(engine, by_series(cold), truth)
    assert_same(engine, by_series(warm), truth)
    assert_same(engine, by_series(longer), expected(engine, name, start=START - 1800))


def test_rows_and_csv_and_json_are_the_same_points(client: TestClient) -> None:
    names = ("http.error_rate", "provider_error_rate")
    rows = ask(client, *names, format="rows")
    document = ask(client, *names)
    text = client.get(SERIES, params=HOUR | {"name": names, "format": "csv"})

    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(document) == ["start", "end", "step", "series"]
    assert (document["start"], document["end"], document["step"]) == (rows[0]["time"], rows[-1]["time"], 60)
    assert [list(series) for series in document["series"]] == [["name", "unit", "labels", "values"]] * 5
    flat = [
        {"time": time, "name": series["name"], "provider": series["labels"].get("provider", ""), "value": value}
        for series in document["series"]
        for time, value in series["values"]
    ]
    assert sorted(flat, key=lambda row: row["time"]) == rows
    lines = list(csv.reader(io.StringIO(text.text)))
    assert lines[0] == list(rows[0]) == ["time", "name", "provider", "value"]
    assert [[*line[:3], float(line[3])] for line in lines[1:]] == [list(row.values()) for row in rows]


def test_rows_ascend_in_time(client: TestClient) -> None:
    times = [row["time"] for row in ask(client, "provider_error_rate", "http.error_rate", format="rows")]

    assert times == sorted(times)
    assert len(set(times)) < len(times)


def test_units_come_from_the_catalogue(client: TestClient) -> None:
    found = ask(client, "http.error_rate", "tokens_used_total")["series"]

    assert {(series["name"], series["unit"]) for series in found} == {
        ("http.error_rate", "percent"),
        ("tokens_used_total", "tokens"),
    }


def test_hostile_labels_survive_every_form(engine: Engine) -> None:
    with serving(engine.url, selector='env="hostile"') as client:
        rows = ask(client, "model_inference_requests_total", format="rows", start=END)
        text = client.get(
            SERIES, params=HOUR | {"start": END, "name": "model_inference_requests_total", "format": "csv"}
        ).content.decode()

    # Neither of them begins a formula, so both hold the texts as they are.
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["model"] for row in rows} == {line["model"] for line in lines} == set(HOSTILE)
    assert [float(line["value"]) for line in lines] == [row["value"] for row in rows]


def test_without_a_range_it_is_the_last_hour_at_multiples_of_the_step(client: TestClient) -> None:
    found = client.get(SERIES, params={"name": "http.error_rate"}).json()
    start, end = parse_rfc3339(found["start"]), parse_rfc3339(found["end"])

    assert start is not None
    assert end is not None
    assert found["step"] == 15
    assert end - start == 3_600_000
    assert start % 15_000 == 0
    assert found["series"] == []


def test_a_given_start_is_the_first_point(client: TestClient) -> None:
    rows = ask(client, "http.total_requests", format="rows", start=START + 7.5, end=END - 1, step="10m")

    assert [parse_rfc3339(row["time"]) for row in rows] == [
        (START * 1000 + 7500) + step * 600_000 for step in range(len(rows))
    ]
    assert len(rows) == 6


def test_times_are_read_as_everywhere(client: TestClient) -> None:
    start, end = format_rfc3339(START * 1000), format_rfc3339(END * 1000)

    assert ask(client, "http.in_progress", start=start, end=end, step="1m") == ask(client, "http.in_progress")


def test_the_second_request_asks_the_upstream_nothing(prometheus: Engine) -> None:
    with serving(prometheus.url) as client:
        ask(client, "http.error_rate")
        sent = _sent(client)
        ask(client, "http.error_rate", format="rows")
        assert _sent(client) == sent > 0


def _sent(client: TestClient) -> float:
    lines = client.get("/metrics").text.splitlines()
    prefix = "gatewayz_metrics_upstream_requests_total"
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(prefix))


def test_no_number_is_null_and_an_empty_cell() -> None:
    values = [[START, "NaN"], [START + 60, "-Inf"], [START + 120, "9007199254740993"]]
    with (
        FakeUpstream(wrong_type("matrix", [{"metric": {}, "values": values}])) as upstream,
        serving(upstream.url) as client,
    ):
        found = {form: client.get(SERIES, params=HOUR | {"name": "http.error_rate", "format": form}).text
                 for form in ("rows", "csv")}  # fmt: skip

    assert found["rows"].count('"value":null}') == 2
    assert found["rows"].endswith('"value":9007199254740993}]\n')
    assert [line.rpartition(",")[2] for line in found["csv"].splitlines()] == ["value", "", "", "9007199254740993"]


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"name": "http.eror_rate"}, "There is no statistic 'http.eror_rate'; did you mean `http.error_rate`"),
        ({"name": "provider_eror_rate"}, "did you mean `provider_error_rate`"),
        ({"name": "rate(up[5m])"}, "There is no statistic or family 'rate(up[5m])'; /prometheus/metrics/docs lists"),
        ({"name": "avg_health_score"}, "use `gatewayz_provider_health_score`."),
        ({}, "The parameter name is missing"),
        ({"name": ""}, "The parameter name is missing"),
        ({"name": "http.error_rate", "start": "yesterday"}, "The parameter start cannot be 'yesterday': it takes Unix"),
        ({"name": "http.error_rate", "end": "2025-12-24T12:00:00"}, "lacks an offset"),
        ({"name": "http.error_rate", "start": "200", "end": "100"}, "ends before it begins"),
        ({"name": "http.error_rate", "step": "0"}, "The parameter step cannot be '0'"),
        ({"name": "http.error_rate", "step": "-5m"}, "The parameter step cannot be '-5m'"),
        ({"name": "http.error_rate", "format": "xml"}, "there are json, rows, csv"),
    ],
)
def test_a_wrong_request_is_told_why(params: dict[str, str], words: str) -> None:
    with serving() as client:
        response = client.get(SERIES, params=params)

    assert response.status_code == 400
    assert response.json()["code"] == "invalid_parameter"
    assert words in response.json()["error"]


@pytest.mark.parametrize(
    ("settings", "status", "code", "words"),
    [
        ({"max_range": 3599}, 422, "limit_exceeded", "MAX_RANGE allows 3,599"),
        ({"max_points": 59}, 400, "too_many_points", "exceeded maximum resolution of 59 points"),
        ({"max_targets": 1}, 422, "limit_exceeded", "MAX_TARGETS allows 1"),
        ({"max_series": 1}, 422, "limit_exceeded", "MAX_SERIES allows 1"),
        ({"max_response_bytes": 4096}, 422, "limit_exceeded", "MAX_RESPONSE_BYTES allows 4,096"),
    ],
)
def test_the_limits_hold(prometheus: Engine, settings: dict[str, int], status: int, code: str, words: str) -> None:
    names = ["http.error_rate", "provider_error_rate"]
    with serving(prometheus.url, selector='env="bare"', **settings) as client:
        response = client.get(SERIES, params=HOUR | {"name": names, "format": "rows"})

    assert response.status_code == status
    assert response.json()["code"] == code
    assert words in response.json()["error"]


def test_a_token_is_needed_where_there_are_tokens() -> None:
    with serving(api_tokens=("secret",)) as client:
        assert client.get(SERIES, params={"name": "http.error_rate"}).status_code == 401


def test_head_is_answered_and_other_methods_are_not(client: TestClient) -> None:
    assert client.head(SERIES, params=HOUR | {"name": "http.error_rate"}).status_code == 200
    assert client.post(SERIES).status_code == 405


# --------------------------------------------------------------------------- failures


def test_in_an_outage_each_form_keeps_its_shape() -> None:
    with serving() as client:
        found = {
            form: client.get(SERIES, params={"name": "provider_error_rate", "format": form})
            for form in ("json", "rows", "csv")
        }

    assert {response.status_code for response in found.values()} == {200}
    assert {response.headers["x-upstream-status"] for response in found.values()} == {"down"}
    assert found["rows"].json() == []
    assert found["csv"].text == "time,name,provider,value\r\n"
    assert found["json"].json()["series"] == []
    assert "127.0.0.1:9 cannot be reached" in found["json"].json()["error"]


def test_a_refused_expression_loses_its_own_series_only(prometheus: Engine) -> None:
    with serving(prometheus.url, selector='job=~"("') as client:
        response = client.get(SERIES, params=HOUR | {"name": "http.error_rate"})

    assert response.status_code == 200
    assert response.headers["x-upstream-status"] == "partial"
    assert "The upstream refuses the query" in response.json()["errors"]["http.error_rate"]


@pytest.mark.parametrize(
    "behaviour",
    [
        wrong_type("vector", []),
        wrong_type("matrix", [{"metric": {}, "values": [[1, "007"]]}]),
        wrong_type("matrix", [{"metric": {}, "values": [[1]]}]),
        wrong_type("matrix", [{"values": [[1, "1"]]}]),
        wrong_type("matrix", [{"metric": {"a": 5}, "values": [[1, "1"]]}]),
        wrong_type("matrix", [{"metric": {}, "values": [[1e300, "1"]]}]),
        wrong_type("matrix", [{"metric": {}, "values": [[-1e12, "1"]]}]),
        wrong_type("matrix", [{"metric": {}, "values": [["1", "1"]]}]),
        wrong_type("matrix", [{"metric": {}, "values": [[1, 1]]}]),
        wrong_type("matrix", {}),
        answering(error_body("internal", "no"), "500 Internal Server Error"),
    ],
)
@pytest.mark.parametrize("cached", [True, False])
def test_nonsense_of_the_upstream_is_an_outage(behaviour: Any, cached: bool) -> None:
    with FakeUpstream(behaviour) as upstream, serving(upstream.url, cache_range=cached) as client:
        response = client.get(SERIES, params=HOUR | {"name": "http.error_rate"})
        rows = client.get(SERIES, params=HOUR | {"name": "http.error_rate", "format": "csv"})

    assert response.status_code == rows.status_code == 200
    assert response.headers["x-upstream-status"] in ("down", "partial")
    assert response.json()["series"] == []
    assert response.json().keys() & {"error", "errors"}
    assert rows.text == "time,name,value\r\n"


def test_only_expressions_of_the_catalogue_reach_the_upstream() -> None:
    known = {Slots().fill(term) for entry in CATALOGUE.by_name.values() for term in _templates(entry)}
    words = st.text(max_size=30) | st.sampled_from(["up", 'x"} or up', "../admin", *CATALOGUE.aliases])
    names = words | st.sampled_from(sorted(CATALOGUE.by_name))
    times = words | st.sampled_from(["0", "-1", "1e999", "1760000000", "2025-12-24T12:00:00Z", "5m", "1y", "0.0001"])
    keys = st.sampled_from(["start", "end", "step", "format", "query", "match[]"])

    with FakeUpstream(wrong_type("matrix", [])) as upstream, serving(upstream.url) as client:

        @settings(max_examples=200, suppress_health_check=list(HealthCheck))
        @given(st.lists(names, max_size=3), st.dictionaries(keys, times, max_size=3))
        def ask_anything(asked: list[str], params: dict[str, str]) -> None:
            assert client.get(SERIES, params=params | {"name": asked}).status_code in (200, 400)

        ask_anything()
        requests = upstream.requests

    assert {request.path for request in requests} == {"/api/v1/query_range"}
    assert {request.query for request in requests} <= known
    assert {key for request in requests for key in request.form} == {"query", "start", "end", "step"}


def test_labels_that_are_called_as_our_columns_get_a_prefix() -> None:
    assert name_columns(["job", "name", "time", "label_time"]) == {
        "job": "job",
        "name": "label_name",
        "time": "label_time",
        "label_time": "label_label_time",
    }
