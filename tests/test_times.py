"""The same text is the same moment, or the same duration, on every surface, and a real engine is the judge."""

import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.promql.times import format_rfc3339, format_seconds, parse_duration, parse_time
from hypothesis import given
from hypothesis import strategies as st

from tests.json_datasource.asking import executed
from tests.support.client import serving
from tests.support.engine import Engine

CATALOGUE = """
title = "Clock"
[categories]
clock = "What time it is."
[sections]
clock = "What time it is."
[statistics.clock]
now = {unit = "seconds", help = "It.", format = "exact", expr = "vector(time()) unless on () x{$selector}"}
[families.x_total]
type = "counter"
unit = "requests"
help = "Nothing."
categories = ["clock"]
"""
NUMBER = re.compile(r"-?[0-9.]+(e[0-9]+)?")


@pytest.fixture(scope="module")
def client(prometheus: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The three surfaces over one engine, without a shortest step."""
    catalogue = tmp_path_factory.mktemp("clock") / "clock.toml"
    catalogue.write_text(CATALOGUE, "utf-8")
    with serving(prometheus.url, catalogue=catalogue, cache_ttl=0, scrape_interval=0.001) as found:
        yield found


# Each of these gives the moment that a surface takes a text for, or None where it refuses it.


def on_the_metrics_routes(client: TestClient, text: str) -> Decimal | None:
    answer = client.get("/prometheus/metrics/summary", params={"time": text})
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
        return None
    document = answer.json()
    found = Decimal(document["metrics"]["clock"]["now"])
    assert document["timestamp"] == format_rfc3339(int(found * 1000))
    return found


def on_the_prometheus_api(client: TestClient, text: str) -> Decimal | None:
    answer = client.get("/api/v1/query", params={"query": "vector(time())", "time": text})
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
        return None
    return Decimal(answer.json()["data"]["result"][0]["value"][1])


def on_the_json_datasource(client: TestClient, text: str) -> Decimal | None:
    # Its numbers are milliseconds.
    written: str | int = int(Decimal(text) * 1000) if NUMBER.fullmatch(text) else text
    targets = [
        {"refId": "A", "target": "vector(time())", "payload": {"instant": "true"}},
        {"refId": "B", "target": "vector($__from / 1000)", "payload": {"instant": "true"}},
    ]
    answer = client.post("/query", json={"targets": targets, "range": {"from": written, "to": written}})
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")
        return None
    ((end, at),), ((begin, _),) = (element["datapoints"] for element in answer.json())
    assert end == begin == at / 1000
    return Decimal(str(end))


SURFACES = [on_the_metrics_routes, on_the_prometheus_api, on_the_json_datasource]
Reading = Callable[[TestClient, str], Decimal | None]

MOMENTS = {
    "1766577600": "1766577600",
    "1766577600.5": "1766577600.5",
    "1766577600.781": "1766577600.781",
    "1.7665776e9": "1766577600",
    "0": "0",
    "-1": "-1",
    "-1.5": "-1.5",
    "2025-12-24T12:00:00Z": "1766577600",
    "2025-12-24T13:30:00.25+01:30": "1766577600.25",
    "1969-12-31T23:59:59Z": "-1",
    "1969-12-31T23:59:58.5Z": "-1.5",
    "2262-04-11T00:00:00Z": "9223286400",
}
NO_MOMENTS = [
    "2025-12-24T12:00:00",
    "2025-12-24T12:00:00.5",
    "2025-12-24",
    "2025-12-24 12:00:00Z",
    "2025-12-24T12:00Z",
    "2025-13-01T00:00:00Z",
    "2025-W52-3T12:00:00Z",
    "20251224T120000Z",
    " 2025-12-24T12:00:00Z",
    "now",
    "now-1h",
    "1h",
    "1766577600s",
    "\u0661",
]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("text", "seconds"), MOMENTS.items())
def test_a_time_is_the_same_moment_everywhere(client: TestClient, surface: Reading, text: str, seconds: str) -> None:
    assert surface(client, text) == Decimal(seconds)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("text", NO_MOMENTS)
def test_what_is_no_time_is_refused_everywhere(client: TestClient, surface: Reading, text: str) -> None:
    assert surface(client, text) is None


@pytest.mark.parametrize("text", ["1766577600000", "-1000"])
def test_a_number_in_text_is_milliseconds_to_the_json_datasource_too(client: TestClient, text: str) -> None:
    body = {"targets": [{"refId": "A", "target": "vector($__from)", "payload": {"instant": "true"}}]}

    answer = client.post("/query", json=body | {"range": {"from": text, "to": 1_766_577_600_000}})

    assert answer.json()[0]["datapoints"][0][0] == int(text)


def test_a_time_without_an_offset_is_told_what_it_lacks(client: TestClient) -> None:
    text, words = "2025-12-24T12:00:00", "lacks an offset from UTC; add Z, or one such as +01:00."

    metrics = client.get("/prometheus/metrics/all", params={"time": text}).json()["error"]
    panel = client.post("/query", json={"targets": [], "range": {"from": text}}).json()["message"]

    assert metrics.endswith(words)
    assert panel.endswith(words)
    assert "range.from" in panel


@pytest.mark.parametrize("route", ["summary", "all"])
@pytest.mark.parametrize(
    "text",
    [
        "253402300800",
        "9007199254740",
        "-62135596801",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "0000-01-01T00:00:00Z",
        "1e400",
        "-1e400",
    ],
)
def test_a_time_without_a_date_is_refused(client: TestClient, route: str, text: str) -> None:
    answer = client.get(f"/prometheus/metrics/{route}", params={"time": text})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
@pytest.mark.parametrize("zone", ["", "Pacific/Kiritimati", "Pacific/Niue"])
def test_the_ends_of_the_calendar_have_an_answer(client: TestClient, time: str, zone: str) -> None:
    target = {"refId": "A", "target": "vector(1) # ${__from:date} ${__to:date}"}
    asked = {"timezone": zone, "intervalMs": 86_400_000}

    for span in ({"from": time, "to": time}, {"to": time}):
        answer = client.post("/query", json={"targets": [target], "range": span, **asked})
        assert answer.status_code == 200
    assert client.get("/prometheus/metrics/summary", params={"time": time}).json()["timestamp"][:4] == time[:4]


# Each of these gives the duration in milliseconds that a surface takes a text for, or None where it refuses it.

BEGIN = 1_766_534_400


def as_step_of_the_prometheus_api(client: TestClient, text: str) -> int | None:
    end = format_seconds(BEGIN * 1000 + 3 * (parse_duration(text) or 0))
    params = {"query": "vector(1)", "start": str(BEGIN), "end": end, "step": text}
    answer = client.get("/api/v1/query_range", params=params)
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
        return None
    return _spacing([at * 1000 for at, _ in answer.json()["data"]["result"][0]["values"]])


def _asked(client: TestClient, target: str, payload: dict[str, str], length_ms: int) -> dict[str, Any] | None:
    asked = {"from": BEGIN * 1000, "to": BEGIN * 1000 + length_ms}
    body = {"targets": [{"refId": "A", "target": target, "payload": payload}], "range": asked, "intervalMs": 1000}
    answer = client.post("/query", json=body)
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_query")
        return None
    element: dict[str, Any] = answer.json()[0]
    return element


def _spacing(times: Sequence[float]) -> int:
    return round(times[1] - times[0])


def as_step_of_a_panel(client: TestClient, text: str) -> int | None:
    found = _asked(client, "vector(1)", {"step": text}, 3 * (parse_duration(text) or 0))
    return None if found is None else _spacing([at for _, at in found["datapoints"]])


def as_interval_of_a_panel(client: TestClient, text: str) -> int | None:
    found = _asked(client, "vector(1)", {"interval": text}, 3 * (parse_duration(text) or 0))
    return None if found is None else _spacing([at for _, at in found["datapoints"]])


def as_window_of_a_panel(client: TestClient, text: str) -> int | None:
    found = _asked(client, "x_total", {"function": "rate", "window": text}, 60_000)
    return None if found is None else parse_duration(executed(found).partition("[")[2].partition("]")[0])


DURATIONS = {
    "15": 15_000,
    "0.5": 500,
    "1.0005": 1000,  # cut off, not rounded
    "1e1": 10_000,
    "90s": 90_000,
    "1h30m": 5_400_000,
    "1m30s": 90_000,
    "1500ms": 1500,
    "1d": 86_400_000,
    "1w": 604_800_000,
}
NO_DURATIONS = ["-1", "-1s", "-1h30m", "0", "0s", "5m1h", "1.5h", "15 s", "x", "1e300", "999999999y", "s"]
PLACES = [as_step_of_the_prometheus_api, as_step_of_a_panel, as_interval_of_a_panel, as_window_of_a_panel]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("text", "ms"), DURATIONS.items())
def test_a_duration_is_the_same_everywhere(
    client: TestClient, place: Callable[[TestClient, str], int | None], text: str, ms: int
) -> None:
    assert place(client, text) == ms


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_no_duration_is_refused_everywhere(
    client: TestClient, place: Callable[[TestClient, str], int | None], text: str
) -> None:
    assert place(client, text) is None


# ---------------------------------------------------------------------------- writing


@given(st.integers(-(10**14), 10**14))
def test_decimal_seconds_come_back_and_are_no_longer_than_need_be(ms: int) -> None:
    text = format_seconds(ms)

    assert Decimal(text) * 1000 == ms
    assert parse_time(text) == ms
    assert not text.endswith(".000")


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_dates_come_back(ms: int) -> None:
    assert parse_time(format_rfc3339(ms, "milliseconds")) == ms
    assert parse_time(format_rfc3339(ms)) == ms // 1000 * 1000


def test_a_range_before_1970_comes_from_the_cache_as_from_the_engine(client: TestClient) -> None:
    query = "vector(time()) and on () (vector(time()) < -4)"
    answers = [
        client.get("/api/v1/query_range", params={"query": query, "start": start, "end": "-2.5", "step": "1"})
        for start in ("-5.5", "-4.5")
    ]

    first, second = ([value for _, value in answer.json()["data"]["result"][0]["values"]] for answer in answers)
    assert (first, second) == (["-5.5", "-4.5"], ["-4.5"])
    assert answers[1].headers["X-Cache"].startswith("hit")


def test_the_docs_tell_the_rules(client: TestClient) -> None:
    page = client.get("/prometheus/metrics/docs").text

    for rule in ("RFC 3339 with an offset", "negative before 1970", "Unix milliseconds", "`1h30m`"):
        assert rule in page
