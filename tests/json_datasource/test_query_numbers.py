"""The numbers of `/query` are the engine's own, for any range, step, filter and builder payload."""

from collections.abc import Iterator
from math import inf, nan
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.json_datasource import recorded_data
from tests.json_datasource.asking import Element, answer, panel, question
from tests.support.engine import Engine

Labels = frozenset[tuple[str, str]]
Points = list[tuple[int, float]]

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Where filters belong: `@` after a bare name, `,@` within braces.
TEXTS = [
    "up@",
    "-http_requests_total@",
    "sum by (job) (rate(http_requests_total@[5m]))",
    "gappy@",
    "waves@ / 3",
    "http_requests_total@ / on (instance) group_left up@",
    'topk(2, wide{n=~"0.1",@})',
    "max_over_time(up@[10m:1m] offset 3m)",
]

# Each filter, and the matcher that it must amount to.
FILTERS = {
    'job="api"': {"key": "job", "operator": "=", "value": "api"},
    'job!="web"': {"key": "job", "operator": "!=", "value": "web"},
    'status=~"5.."': {"key": "status", "operator": "=~", "value": "5.."},
    'instance!~"a.*"': {"key": "instance", "operator": "!~", "value": "a.*"},
    r'instance=~"10\\.0\\.0\\.1:9090|a\\.b:1"': {
        "key": "instance",
        "operator": "=|",
        "value": "10.0.0.1:9090",
        "values": ["10.0.0.1:9090", "a.b:1"],
    },
    r'instance!~"c\\.d:2"': {"key": "instance", "operator": "!=|", "value": "c.d:2"},
}

ranges = st.tuples(
    st.integers(recorded_data.START * 1000, (recorded_data.END - 60) * 1000), st.integers(1000, 3 * 3600 * 1000)
).map(lambda pair: (pair[0], min(pair[0] + pair[1], recorded_data.END * 1000)))
intervals = st.one_of(st.none(), st.integers(1, 900_000))
widths = st.one_of(st.none(), st.integers(50, 3000))
filters = st.lists(st.sampled_from(sorted(FILTERS)), unique=True, max_size=3)


def direct(engine: Engine, promql: str, start: float, end: float, step: float) -> dict[Labels, Points]:
    """What the engine answers when it is asked itself."""
    form = {"query": promql, "start": start, "end": end, "step": step}
    reply = httpx.post(f"{engine.url}/api/v1/query_range", data=form, trust_env=False)
    assert reply.status_code == 200, reply.text
    return {
        labels(series["metric"]): [(round(time * 1000), float(value)) for time, value in series["values"]]
        for series in reply.json()["data"]["result"]
    }


def labels(metric: dict[str, str]) -> Labels:
    return frozenset((name, value) for name, value in metric.items() if name != "__name__")


def shown(elements: list[Element]) -> dict[Labels, Points]:
    """What a panel would draw; the nulls that mark gaps draw nothing."""
    return dict(found for element in elements for found in _drawn(element))


def _drawn(element: Element) -> Iterator[tuple[Labels, Points]]:
    if element.get("datapoints"):
        points = [(time, value) for value, time in element["datapoints"] if value is not None]
        yield labels(element["tags"]), points
    elif "schema" in element:
        times, values = element["data"]["values"]
        _, special = element["data"].get("entities", [None, None])
        for name, places in (special or {}).items():
            for place in places:
                values[place] = {"NaN": nan, "Inf": inf, "NegInf": -inf}[name]
        yield labels(element["schema"]["fields"][1]["labels"]), list(zip(times, values, strict=True))


def assert_same(found: dict[Labels, Points], expected: dict[Labels, Points]) -> None:
    assert found.keys() == expected.keys()
    for key, points in expected.items():
        assert [time for time, _ in found[key]] == [time for time, _ in points]
        # An engine adds floats in no fixed order, so their last digits differ from one query to the next.
        assert [value for _, value in found[key]] == pytest.approx(
            [value for _, value in points], rel=1e-12, nan_ok=True
        )


def grid(span: tuple[int, int], interval: int | None, width: int | None) -> tuple[float, float, float]:
    """The aligned points in seconds; without an interval Grafana's own rounding is tested elsewhere."""
    from gatewayz_metrics.json_datasource.timing import round_interval

    step = max(15_000, interval or round_interval((span[1] - span[0]) / (width or 500)))
    return span[0] // step * step / 1000, span[1] // step * step / 1000, step / 1000


def with_matchers(text: str, matchers: list[str]) -> str:
    """A text with the matchers where they belong."""
    inside = ",".join(matchers)
    return text.replace(",@", f",{inside}" if inside else "").replace("@", f"{{{inside}}}" if inside else "")


@few
@given(st.sampled_from(TEXTS), ranges, intervals, widths, filters)
def test_text_with_filters(  # noqa: PLR0917  # hypothesis gives arguments by name
    recorded_engine: Engine,
    client: TestClient,
    text: str,
    span: tuple[int, int],
    interval: int | None,
    width: int | None,
    matchers: list[str],
) -> None:
    body = {
        "range": {"from": span[0], "to": span[1]},
        "intervalMs": interval,
        "maxDataPoints": width,
        "filters": [FILTERS[matcher] for matcher in matchers],
        "targets": [{"refId": "A", "target": with_matchers(text, [])}],
    }
    found = client.post("/query", json=body)
    expected = direct(recorded_engine, with_matchers(text, matchers), *grid(span, interval, width))

    assert_same(shown(answer(found)), expected)


BUILT = {
    ("http_requests_total", "raw"): "sum{by} (http_requests_total{{{m}}})",
    ("http_requests_total", "rate"): "sum{by} (rate(http_requests_total{{{m}}}[{w}]))",
    ("http_requests_total", "increase"): "sum{by} (increase(http_requests_total{{{m}}}[{w}]))",
    ("http_rps", "raw"): "sum{by} (rate(http_requests_total{{{m}}}[{w}]))",
    ("request_seconds", "rate"): "sum{by} (rate(request_seconds_count{{{m}}}[{w}]))",
    ("request_seconds", "increase"): "sum{by} (increase(request_seconds_count{{{m}}}[{w}]))",
    ("request_seconds", "mean"): (
        "sum{by} (rate(request_seconds_sum{{{m}}}[{w}])) / (sum{by} (rate(request_seconds_count{{{m}}}[{w}])) > 0)"
    ),
    ("request_seconds", "p50"): "histogram_quantile(0.5, sum{le} (rate(request_seconds_bucket{{{m}}}[{w}])))",
    ("request_seconds", "p90"): "histogram_quantile(0.9, sum{le} (rate(request_seconds_bucket{{{m}}}[{w}])))",
    ("request_seconds", "p95"): "histogram_quantile(0.95, sum{le} (rate(request_seconds_bucket{{{m}}}[{w}])))",
    ("request_seconds", "p99"): "histogram_quantile(0.99, sum{le} (rate(request_seconds_bucket{{{m}}}[{w}])))",
    ("query_seconds", "mean"): (
        "sum{by} (rate(query_seconds_sum{{{m}}}[{w}])) / (sum{by} (rate(query_seconds_count{{{m}}}[{w}])) > 0)"
    ),
    ("query_seconds", "increase"): "sum{by} (increase(query_seconds_count{{{m}}}[{w}]))",
}
OWN_LABELS = {
    "http_requests_total": ["job", "status"],
    "http_rps": ["job", "instance"],
    "request_seconds": ["job"],
    "query_seconds": ["table"],
}


@few
@given(
    st.sampled_from(sorted(BUILT)),
    ranges,
    st.sampled_from(["", "5m", "90s", "1h", "300", "$__range", "$__rate_interval"]),
    st.one_of(st.none(), st.just(["()"]), st.sets(st.sampled_from(["job", "instance"]), min_size=1).map(sorted)),
    st.sampled_from([None, ["api"], "(api|web)", "api,web", "api|web", ["api", "web"]]),
    st.booleans(),
)
def test_builder_payloads(  # noqa: PLR0917
    recorded_engine: Engine,
    client: TestClient,
    choice: tuple[str, str],
    span: tuple[int, int],
    window: str,
    by: list[str] | None,
    job: Any,
    instant: bool,
) -> None:
    family, function = choice
    payload = {"function": function, "window": window, "by": by, "job": job, "instant": str(instant).lower()}
    groups = OWN_LABELS[family] if by is None else [] if by == ["()"] else by
    by_le = f" by ({', '.join([*groups, 'le'])})"
    start, end, step = grid(span, 60_000, None)
    seconds = {
        "": 300,
        "5m": 300,
        "90s": 90,
        "1h": 3600,
        "300": 300,
        "$__range": (span[1] - span[0] + 500) // 1000,
        "$__rate_interval": 75,
    }
    # Only families that keep a label, or are grouped by it, can be filtered by it in the builder.
    is_filtered = job is not None and "job" in {*OWN_LABELS[family], *groups}
    matcher = "" if not is_filtered else ',job="api"' if job == ["api"] else ',job=~"api|web"'
    promql = BUILT[choice].format(
        by=f" by ({', '.join(groups)})", le=by_le, m=f'aggregated_by=""{matcher}', w=f"{seconds[window]}s"
    )

    found = shown(panel(client, family, payload, range={"from": span[0], "to": span[1]}))

    if instant:
        vector = recorded_engine.vector(promql, span[1] / 1000)
        assert_same(found, {labels(metric): [(span[1], float(value))] for metric, value in vector})
    else:
        assert_same(found, direct(recorded_engine, promql, start, end, step))


@pytest.mark.parametrize("name", ["traffic.rate", "traffic.error_rate"])
def test_statistics_are_their_expressions(recorded_engine: Engine, client: TestClient, name: str) -> None:
    all_of_them = 'sum(rate(http_requests_total{aggregated_by=""}[5m]))'
    errors = 'sum(rate(http_requests_total{aggregated_by="",status=~"5.."}[5m]))'
    promql = all_of_them if name == "traffic.rate" else f"100 * {errors} / {all_of_them}"

    found = panel(client, name)

    assert found[0]["title"] == name
    assert_same(shown(found), direct(recorded_engine, promql, recorded_data.TEN, recorded_data.TEN + 3600, 60))


def test_the_deployments_selector_stays_in_force(recorded_engine: Engine, catalogue: Any, client: TestClient) -> None:
    from tests.support.client import serving

    with serving(recorded_engine.url, catalogue=catalogue, selector='job="web"') as narrowed:
        found = answer(narrowed.post("/query", json=question([{"refId": "A", "target": "http_rps"}])))

    assert {element["tags"]["job"] for element in found} == {"web"}
    assert {element["tags"]["job"] for element in panel(client, "http_rps")} == {"api", "web"}


def test_several_statistics_of_a_multi_value_variable(client: TestClient) -> None:
    found = panel(client, r"(traffic\.rate|traffic\.error_rate)")

    assert [element["title"] for element in found] == ["traffic.rate", "traffic.error_rate"]
