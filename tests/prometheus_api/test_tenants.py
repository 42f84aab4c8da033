"""Tenants in one engine: whatever one of them asks, the answer is that of an engine with its data alone.

The same attacks run on Prometheus, whose queries this service narrows itself, and on VictoriaMetrics, which is told
extra_label.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.testclient import TestClient
from gatewayz_demo import processes
from gatewayz_metrics import Settings, create_app
from gatewayz_metrics.promql.lexer import lex
from gatewayz_metrics.promql.parser import PARSED
from hypothesis import given

from tests.json_datasource.test_routes import PATHS as DATASOURCE_PATHS
from tests.promql.grammar import METRICS, QUERIES, damaged, examples
from tests.range_cache.relay import Relay
from tests.support import samples
from tests.support.calls import counting
from tests.support.client import Answer, serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream, answering
from tests.support.samples import Series
from tests.support.waiting import wait_until

OWN, OTHER = "bare", "oneshot"
SETTINGS: dict[str, Any] = {
    "tenants": {"token-a": f"env={OWN}", "token-b": f"env={OTHER}"},
    "api_tokens": ("admin",),
}
SPAN = {"start": str(samples.START), "end": str(samples.START + 600), "step": "15"}
AT = {"time": str(samples.END)}
QUERY, RANGE, SERIES = "/api/v1/query", "/api/v1/query_range", "/api/v1/series"
LABELS, ENVS, NAMES = "/api/v1/labels", "/api/v1/label/env/values", "/api/v1/label/__name__/values"
FORM = "application/x-www-form-urlencoded"

Pairs = list[tuple[str, str]]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True)
class Shared:
    """The service over an engine with everybody's data, and an engine with one tenant's alone."""

    engine: str
    client: TestClient
    alone: httpx.Client

    def send(self, path: str, pairs: Pairs, body: Pairs | None = None, **headers: str) -> Answer:
        """A request of the tenant's, by POST when it has a body."""
        url, sent = f"{path}?{urlencode(pairs)}", bearer("token-a") | headers
        if body is None:
            return self.client.get(url, headers=sent)
        return self.client.post(url, content=urlencode(body), headers={"Content-Type": FORM} | sent)

    def truth(self, path: str, pairs: Pairs) -> httpx.Response:
        return self.alone.get(f"{path}?{urlencode(pairs)}")


@pytest.fixture(scope="module")
def lonely_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Prometheus with the data of one tenant."""
    data = tmp_path_factory.mktemp("lonely")
    own = [series for series in samples.deployments() if series.labels["env"] == OWN]
    processes.backfill(samples.openmetrics(data / "samples.om", found=own), data / "tsdb")
    with processes.start_prometheus(data / "tsdb") as process:
        yield Engine("prometheus", process.url)


@pytest.fixture(scope="module")
def lonely_victoria_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A VictoriaMetrics with the data of one tenant."""
    data = tmp_path_factory.mktemp("lonely")
    with processes.start_victoria_metrics(data, extra_flags=["-search.disableCache"]) as process:
        lines = samples.exposition_with_times(data / "samples.txt").read_text("utf-8").splitlines(keepends=True)
        page = "".join(line for line in lines if f'env="{OWN}"' in line)
        httpx.post(f"{process.url}/api/v1/import/prometheus", content=page).raise_for_status()
        httpx.get(f"{process.url}/internal/force_flush").raise_for_status()
        yield Engine("victoriametrics", process.url)


@pytest.fixture(scope="module", params=["prometheus", "victoria_metrics"])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    """Each engine in turn."""
    everybody: Engine = request.getfixturevalue(request.param)
    lonely: Engine = request.getfixturevalue(f"lonely_{request.param}")
    with (
        serving(everybody.url, prometheus_engine=everybody.name, cache_ttl=5, **SETTINGS) as client,
        httpx.Client(base_url=lonely.url, trust_env=False) as alone,
    ):
        yield Shared(everybody.name, client, alone)


def comparable(document: Any) -> Any:
    """What an answer says, in one order."""
    found = document.get("data")
    if isinstance(found, dict) and isinstance(found.get("result"), list):
        found = found["result"]
    return sorted(map(repr, found)) if isinstance(found, list) else found


EXPRESSIONS = [
    "provider_availability",
    "count by (env) ({__name__=~'.+'})",
    "count({__name__!=''}) by (__name__, env)",
    f'provider_availability{{env="{OTHER}"}}',
    f'provider_availability{{env="{OTHER}",env="{OWN}"}}',
    f'provider_availability{{env=~"{OWN}|{OTHER}"}}',
    f'provider_availability{{env!="{OWN}"}}',
    'provider_availability{env!~"nobody"}',
    'provider_availability{env=""}',
    'count(cache_hits_total{}) or count(provider_availability{provider!=""})',
    "cache_hits_total or fastapi_requests_total or provider_error_rate",
    "provider_availability and on (provider) cache_hits_total",
    "provider_availability unless on (provider) model_inference_requests_total",
    "provider_availability * on () group_left () count(model_inference_requests_total)",
    "sum(rate(cache_hits_total[5m])) or vector(0)",
    "max_over_time(count({job='gateway'})[5m:1m])",
    f"count({{job='gateway'}} @ {samples.START + 900})",
    "count({job='gateway'} offset 5m)",
    "sum(topk(scalar(count({job='gateway'})) - 10, provider_availability))",
    "quantile(scalar(count({job='gateway'})) / 100, provider_availability)",
    "count_values('env', {job='gateway'})",
    f"label_replace(provider_availability, 'env', '{OTHER}', '', '')",
    "absent(cache_hits_total)",
    "absent(provider_availability)",
    "absent(nothing)",
    f'absent(cache_hits_total{{env="{OTHER}"}})',
    f'absent(cache_hits_total{{env="{OWN}"}})',
    f'absent(cache_hits_total{{env="{OTHER}",env="{OWN}",job="gateway"}})',
    f'absent_over_time(cache_hits_total{{env="{OTHER}"}}[5m])',
    "absent_over_time(cache_hits_total[5m])",
    "sum(absent(model_inference_requests_total{job='gateway'}))",
    "vector(1)",
    "time() - time()",
    f"provider_availability # {{env='{OTHER}'}}",
    "provider_availability{ # }\n provider='groq'}",
    "provider_availability{provider='groq',}",
    'provider_availability{provider=~"}|groq|{"}',
]


@pytest.mark.parametrize("query", EXPRESSIONS)
def test_an_expression_reads_the_tenants_series_alone(shared: Shared, query: str) -> None:
    for path, times in ((QUERY, AT), (RANGE, SPAN)):
        pairs = [("query", query), *times.items()]
        truth = shared.truth(path, pairs)
        for _ in range(2):  # the second from a cache where there is one
            for answer in (shared.send(path, pairs), shared.send(path, [], pairs)):
                assert answer.status_code == truth.status_code, answer.text
                assert comparable(answer.json()) == comparable(truth.json())


LISTS: list[tuple[str, Pairs]] = [
    (LABELS, []),
    (ENVS, []),
    (NAMES, []),
    (LABELS, [("match[]", "cache_hits_total")]),
    (ENVS, [("match[]", '{env!=""}')]),
    (ENVS, [("match[]", "provider_availability"), ("match[]", f'{{env="{OTHER}"}}')]),
    (NAMES, [("match[]", f'{{env=~"{OWN}|{OTHER}"}}')]),
    ("/api/v1/label/model/values", []),
    (SERIES, [("match[]", '{job="gateway"}')]),
    (SERIES, [("match[]", "cache_hits_total"), ("match[]", "provider_error_rate")]),
    (SERIES, [("match[]", f'{{env="{OTHER}"}}')]),
]


@pytest.mark.parametrize(("path", "pairs"), LISTS)
def test_a_list_is_of_the_tenants_series_alone(shared: Shared, path: str, pairs: Pairs) -> None:
    asked = [*pairs, ("start", SPAN["start"]), ("end", SPAN["end"])]
    expected = comparable(shared.truth(path, asked).json())
    answers = [shared.send(path, asked) for _ in range(2)]
    if "/label/" not in path:
        answers += [shared.send(path, [], asked), shared.send(path, pairs, asked[len(pairs) :])]

    assert all(comparable(answer.json()) == expected for answer in answers)


# Ways to say something beside the question.
WIDER: list[Pairs] = [
    [(name, value)]
    for name in ("extra_label", "extra_filters", "extra_filters[]", "extra_labels", "Extra_Label", "extra_label[]")
    for value in (f"env={OTHER}", f'{{env="{OTHER}"}}', f'env="{OTHER}"')
] + [
    [("match[]", f'{{env="{OTHER}"}}')],
    [("storeMatch[]", f'{{env="{OTHER}"}}')],
    [("X-Scope-OrgID", OTHER)],
    [("tenant", OTHER)],
    [("query", "cache_hits_total")],
    [("query;", "cache_hits_total")],
    [("nocache", "1")],
    [("stats", "all")],
]


@pytest.mark.parametrize("wider", WIDER, ids=lambda pairs: "&".join(map("=".join, pairs)))
def test_no_parameter_shows_more(shared: Shared, wider: Pairs) -> None:
    asked = [("query", "count by (env) ({job='gateway'})"), *AT.items()]
    places = [(asked + wider, None), (wider + asked, None), (wider, asked), (asked, wider), ([], wider + asked)]
    for pairs, body in places:
        for content_type in (FORM, f"{FORM}; charset=utf-16", FORM.upper(), "text/plain", "multipart/form-data"):
            answer = shared.send(QUERY, pairs, body, **({"Content-Type": content_type} if body else {}))
            document = answer.json()
            found = document.get("data", {}).get("result", [])
            assert {series["metric"].get("env") for series in found} <= {OWN}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/targets",
        "/api/v1/targets/metadata",
        "/api/v1/status/config",
        "/api/v1/status/flags",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/tsdb",
        "/api/v1/status/active_queries",
        "/api/v1/status/top_queries",
        "/api/v1/alertmanagers",
        "/api/v1/scrape_pools",
        "/api/v1/export",
        "/api/v1/series/count",
        "/api/v1/read",
        "/federate",
        "/graph",
    ],
)
def test_what_has_no_label_is_not_served(shared: Shared, path: str) -> None:
    for method in ("GET", "POST"):
        answer = shared.client.request(method, f"{path}?match[]={{job=~'.%2b'}}", headers=bearer("token-a"))
        assert answer.status_code in (403, 404, 405)
        assert OTHER not in answer.text


@pytest.mark.parametrize(
    ("path", "data"),
    [("/api/v1/metadata", {}), ("/api/v1/rules", {"groups": []}), ("/api/v1/alerts", {"alerts": []})],
)
def test_what_names_no_tenant_is_empty(shared: Shared, path: str, data: object) -> None:
    assert shared.send(path, [("metric", "cache_hits_total")]).json()["data"] == data


def test_a_tenants_token_opens_the_prometheus_api_alone(shared: Shared) -> None:
    """The metrics routes and the datasource read everything, so they are for the service's own tokens."""
    categories = ("summary", "system", "providers", "models", "business", "performance", "all", "docs")
    asked = [
        *(("GET", f"/prometheus/metrics/{name}") for name in categories),
        *(("GET", f"/prometheus/metrics/{name}") for name in ("series/cache_hits_total", "")),
        *(("POST", path) for path in DATASOURCE_PATHS),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    ]
    for method, path in asked:
        answer = shared.client.request(method, path, headers=bearer("token-a"), json={} if method == "POST" else None)
        assert (answer.status_code, OTHER in answer.text) == (401, False), path


@pytest.mark.parametrize(
    ("path", "times"),
    [
        (QUERY, {"time": str(samples.START + 600)}),
        (RANGE, SPAN),
        (LABELS, SPAN),
        (ENVS, SPAN),
        (NAMES, SPAN),
        (SERIES, SPAN),
    ],
)
def test_what_is_kept_for_one_is_shown_to_no_other(shared: Shared, path: str, times: dict[str, str]) -> None:
    """Every cache: instant answers, lists, and the points of ranges, which a longer range continues."""
    params = {"query": "count by (env) ({job='gateway'})", "match[]": '{job="gateway"}', **times}
    texts: dict[str, list[str]] = {}
    for token in ("token-a", "token-b", "admin") * 3:
        answer = shared.client.get(path, params=params, headers=bearer(token))
        texts.setdefault(token, []).append(repr(comparable(answer.json())))
        if path == RANGE:
            params["end"] = str(int(params["end"]) + 60)

    marks = shared.client.get(path, params=params, headers=bearer("token-b")).headers["X-Cache"]
    assert marks.startswith(("hit", "partial"))
    for token, hidden in (("token-a", OTHER), ("token-b", OWN)):
        assert not any(hidden in text for text in texts[token])
    assert all(
        len(text) > max(map(len, texts["token-a"] + texts["token-b"])) or path == LABELS for text in texts["admin"]
    )


@pytest.mark.parametrize("path", [QUERY, RANGE, ENVS, SERIES])
def test_questions_under_way_at_once_are_one_for_each_tenant(prometheus: Engine, path: str) -> None:
    params = {"query": "count by (env) ({job='gateway'})", "match[]": '{job="gateway"}', **AT, **SPAN}
    with FakeUpstream(Relay(prometheus.url)) as upstream, serving(upstream.url, **SETTINGS) as client:

        def ask(token: str) -> tuple[str, str]:
            return token, client.get(path, params=params, headers=bearer(token)).text

        with ThreadPoolExecutor(12) as threads:
            found = list(threads.map(ask, ["token-a", "token-b"] * 12))
        for request in upstream.requests:
            assert str(request.form).count("env=~") == 1

    assert all(
        ('"oneshot"' in text, '"bare"' in text) == (token == "token-b", token == "token-a") for token, text in found
    )


_SCRAPED = b"""\
# TYPE calls counter
calls_total{env="bare"} 1 # {trace_id="own"} 1
calls_total{env="oneshot"} 1 # {trace_id="foreign"} 1
# EOF
"""
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_exemplars_are_of_the_tenants_series_alone(tmp_path: Path) -> None:
    with FakeUpstream(answering(_SCRAPED, Content_Type=_OPENMETRICS)) as exporter:
        target = exporter.url.removeprefix("http://")
        config = f"scrape_configs: [{{job_name: x, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}]}}]"
        flags = ["--enable-feature=exemplar-storage"]
        with (
            processes.start_prometheus(tmp_path / "tsdb", config, extra_flags=flags) as engine,
            serving(engine.url, cache_ttl=0, **SETTINGS) as client,
        ):

            def seen(token: str, query: str) -> set[str]:
                params = {"query": query, "start": "0", "end": "99999999999"}
                found = client.get("/api/v1/query_exemplars", params=params, headers=bearer(token)).json()["data"]
                return {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}

            wait_until(lambda: seen("admin", "calls_total") == {"own", "foreign"})
            for query in ("calls_total", '{__name__!=""}', "rate(calls_total[5m]) or {job='x'}"):
                assert seen("token-a", query) == {"own"}
            assert seen("token-a", f'calls_total{{env="{OTHER}"}}') == set()


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (QUERY, {"query": "info(up)"}),
        (QUERY, {"query": 'up{a="b" or env="oneshot"}'}),
        (QUERY, {"query": "everything(up)"}),
        (RANGE, {"query": "up{", **SPAN}),
        (RANGE, {"query": "up # \r or down", **SPAN}),
        ("/api/v1/query_exemplars", {"query": "up or", **SPAN}),
        (SERIES, {"match[]": ["up", "up or down"]}),
        (LABELS, {"match[]": ""}),
        (ENVS, {"match[]": "up)"}),
    ],
)
def test_what_is_in_doubt_is_refused_and_not_sent(prometheus: Engine, path: str, params: dict[str, Any]) -> None:
    with FakeUpstream(Relay(prometheus.url)) as upstream, serving(upstream.url, **SETTINGS) as client:
        answer = client.get(path, params=params, headers=bearer("token-a"))

        assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
        assert (
            "correct" in answer.text or "instead" in answer.text or "PromQL" in answer.text or "another" in answer.text
        )
        assert not upstream.requests
        # It says nothing about the upstream, so nobody else is kept from it.
        assert client.get(QUERY, params={"query": "up"}, headers=bearer("token-b")).status_code == 200


def test_very_many_selectors_are_refused_before_they_grow(prometheus: Engine) -> None:
    query = "+".join(["a"] * 32_000)
    with FakeUpstream(Relay(prometheus.url)) as upstream, serving(upstream.url, **SETTINGS) as client:
        answer = client.post(QUERY, data={"query": query}, headers=bearer("token-a"))

        assert (answer.status_code, answer.json()["errorType"]) == (422, "execution")
        assert "MAX_QUERY_LENGTH" in answer.text
        assert not upstream.requests


def test_a_tenants_query_is_read_once_and_a_kept_answer_costs_no_reading(prometheus: Engine) -> None:
    giant = " or ".join(f"rate(nothing_{number}[5s])" for number in range(1000))
    with counting(lex) as calls, serving(prometheus.url, max_query_length=200_000, **SETTINGS) as client:
        for query in ("count({job='gateway'})", giant):
            for path, times in ((QUERY, {"time": str(samples.START + 600)}), (RANGE, SPAN)):
                PARSED.clear()
                calls.clear()
                params = {"query": query, **times}
                for expected in ([query], []):
                    assert client.post(path, data=params, headers=bearer("token-a")).status_code == 200
                    assert [call["text"] for call in calls] == expected
                    PARSED.clear()
                    calls.clear()


# Random expressions over series whose names and labels are what the grammar writes.


def _of_team(team: str, scale: float) -> list[Series]:
    return [
        Series(name, {"team": team, "job": job, "code": code, "le": code}, samples.steady(scale * number))
        for number, name in enumerate(METRICS, 1)
        for job in ("", "api", team)
        for code in ("200", "5xx")
    ]


@pytest.fixture(scope="module")
def teams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Two teams in one Prometheus, behind the service, and one of them in another."""
    urls: list[processes.EngineProcess] = []
    own, others = _of_team("a", 1.5), _of_team("secret", 1000)
    for series in (own + others, own):
        data = tmp_path_factory.mktemp("teams")
        processes.backfill(samples.openmetrics(data / "samples.om", found=series), data / "tsdb")
        urls.append(processes.start_prometheus(data / "tsdb"))
    with (
        urls[0] as everybody,
        urls[1] as lonely,
        httpx.Client(base_url=lonely.url, trust_env=False) as alone,
        TestClient(
            create_app(Settings(prometheus_url=everybody.url, tenants={"token-a": "team=a"}, api_tokens=("admin",)))
        ) as client,
    ):
        yield Shared("prometheus", client, alone)


@examples(150)
@given(QUERIES)
def test_any_query_answers_as_if_the_tenant_were_alone(teams: Shared, query: str) -> None:
    for path, times in ((QUERY, AT), (RANGE, SPAN | {"step": "300"})):
        pairs = [("query", query), *times.items()]
        ours, truth = teams.send(path, [], pairs), teams.truth(path, pairs)

        assert ours.status_code == truth.status_code, (ours.text, truth.text)
        assert comparable(ours.json()) == comparable(truth.json())
        assert "secret" not in ours.text


@examples(250)
@given(damaged())
def test_a_damaged_query_is_refused_or_answers_as_if_the_tenant_were_alone(teams: Shared, query: str) -> None:
    pairs = [("query", query), *AT.items()]
    ours = teams.send(QUERY, [], pairs)

    assert "secret" not in ours.text
    if ours.status_code == 200:
        truth = teams.truth(QUERY, pairs).json()
        # It refuses what could mean every series; narrowed it cannot.
        assert truth.get("error", "").endswith("at least one non-empty matcher") or comparable(
            ours.json()
        ) == comparable(truth)
