from datetime import UTC, datetime
from random import Random
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.testclient import TestClient
from gatewayz_metrics.prometheus_api.parameters import merge_params
from gatewayz_metrics.promql.times import parse_duration, parse_time
from hypothesis import given
from hypothesis import strategies as st

from tests.support import samples
from tests.support.engine import Engine

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("1760000000", 1_760_000_000_000),
        ("1760000000.781", 1_760_000_000_781),
        ("1760000000.7814", 1_760_000_000_781),
        ("1.7600000005e9", 1_760_000_000_500),
        ("-1.5", -1500),
        (".5", 500),
        ("1760000000000", 1_760_000_000_000_000),
        ("1735041600000.5", 1_735_041_600_000_500),
        ("2025-12-24T12:00:00Z", 1_766_577_600_000),
        ("2025-12-24T12:00:00.123456789Z", 1_766_577_600_123),
        ("2025-12-24T13:30:00.5+01:30", 1_766_577_600_500),
        ("1969-12-31T23:59:59Z", -1000),
    ],
)
def test_times(text: str, ms: int) -> None:
    assert parse_time(text) == ms


@pytest.mark.parametrize(
    "text", ["", "now", "1_000", " 1", "1 ", "nan", "inf", "٣", "2025-13-01T00:00:00Z", "2025-12-24T12:00:00", "1e400"]
)
def test_what_is_no_time(text: str) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("15", 15_000),
        ("0.5", 500),
        ("1.5", 1500),
        ("1e1", 10_000),
        ("15s", 15_000),
        ("1500ms", 1500),
        ("1h30m", 5_400_000),
        ("1y2w3d4h5m6s7ms", ((365 + 14 + 3) * 86_400 + 4 * 3600 + 5 * 60 + 6) * 1000 + 7),
        ("1d", 86_400_000),
        ("0", 0),
    ],
)
def test_durations(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "5m1h", "1.5h", "15 s", "1_5", "1e300", "999999999y", "-1", "-0.001", "-1s"])
def test_what_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


TIMES = [
    "1760000400",
    "1760000400.5",
    "1.7600004e9",
    "2025-10-09T09:00:00Z",
    "2025-10-09T10:00:00.25+01:00",
    "x",
    "",
    "NaN",
]
STEPS = ["15", "0.5", "1.5", "1.001", "15s", "1m", "1m30s", "250ms", "0", "-1", "x", "", "1e1", "99999999999y"]


@pytest.mark.parametrize("start", TIMES)
@pytest.mark.parametrize("step", STEPS)
def test_ranges_are_read_as_the_engine_reads_them(api: TestClient, prometheus: Engine, start: str, step: str) -> None:
    params = {"query": 'cache_size_bytes{env="production"}', "start": start, "end": "1760000700", "step": step}
    direct = httpx.get(f"{prometheus.url}/api/v1/query_range", params=params)

    ours = api.get("/api/v1/query_range", params=params)

    assert (ours.status_code, ours.json()) == (direct.status_code, direct.json())


@pytest.mark.parametrize("end", ["1760000399", "1760000400", "1760011400", "1760011401", "1760011400.999"])
def test_ends_and_points_are_judged_as_the_engine_judges_them(api: TestClient, prometheus: Engine, end: str) -> None:
    params = {"query": "vector(1)", "start": "1760000400", "end": end, "step": "1"}
    direct = httpx.get(f"{prometheus.url}/api/v1/query_range", params=params)

    ours = api.get("/api/v1/query_range", params=params)

    assert (ours.status_code, ours.json()) == (direct.status_code, direct.json())


def test_the_body_stands_before_the_url() -> None:
    form = merge_params("query=url&match[]=c&match[]=a&x=1", "query=body&match[]=b&x=2")

    assert form.pairs == (
        ("match[]", "a"),
        ("match[]", "b"),
        ("match[]", "c"),
        ("query", "body"),
        ("x", "2"),
        ("x", "1"),
    )


def test_a_semicolon_is_text() -> None:
    assert merge_params("query=a;b=c").pairs == (("query", "a;b=c"),)


PAIRS = st.lists(st.tuples(st.sampled_from(["query", "start", "match[]", "x", "y"]), st.text(max_size=5)), max_size=8)


@given(PAIRS, st.randoms())
def test_the_order_of_parameters_makes_no_difference(pairs: list[tuple[str, str]], random: Random) -> None:
    # Equal names keep their order, which counts.
    found = {name: [value for key, value in pairs if key == name] for name, _ in pairs}
    names = list(found)
    random.shuffle(names)
    shuffled = [(name, value) for name in names for value in found[name]]

    canonical = merge_params(urlencode(pairs)).pairs
    assert merge_params(urlencode(shuffled)).pairs == canonical
    assert merge_params(urlencode(canonical)).pairs == canonical


RANGE = {"start": str(samples.START), "end": str(samples.START + 600), "step": "15"}


def test_every_way_of_asking_shares_one_answer(api: TestClient) -> None:
    query = 'sum(provider_error_rate{env="production"})'
    api.get("/api/v1/query_range", params={"query": query, **RANGE})
    body = httpx.QueryParams({"query": query, "step": "15s"})
    end = datetime.fromtimestamp(samples.START + 600, UTC).isoformat()

    answers = [
        api.post("/api/v1/query_range", data={"query": query, **RANGE}),
        api.get("/api/v1/query_range", params={**RANGE, "query": query}),
        api.post(
            "/api/v1/query_range",
            params={"start": f"{samples.START}.000", "query": "ignored", "end": end},
            content=str(body),
            headers={"Content-Type": FORM},
        ),
    ]

    assert [answer.headers["X-Cache"] for answer in answers] == ["hit"] * 3
    assert len({answer.content for answer in answers}) == 1


def test_a_json_body_is_no_form(api: TestClient, prometheus: Engine) -> None:
    direct = httpx.post(f"{prometheus.url}/api/v1/query", json={"query": "1"})

    ours = api.post("/api/v1/query", json={"query": "1"})

    assert (ours.status_code, ours.json()) == (direct.status_code, direct.json()) == (400, direct.json())


def test_bytes_that_are_no_text_reach_the_engine(api: TestClient, prometheus: Engine) -> None:
    path = "/api/v1/query?query=%22%ff%22"
    direct = httpx.get(f"{prometheus.url}{path}")

    ours = api.get(path)

    assert (ours.status_code, ours.content) == (direct.status_code, direct.content)
