"""Limits in words that Grafana shows, and tenants that see their own."""

import asyncio
import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from gatewayz_metrics import Settings, create_app
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.http.server_protocol import create_protocol
from gatewayz_metrics.prometheus_api.envelope import render_error
from gatewayz_metrics.settings import read_settings

from tests.range_cache.relay import Relay
from tests.support import samples
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream, answering
from tests.support.server import listening, running
from tests.support.waiting import wait_until

RANGE = "/api/v1/query_range"
SPAN = {"start": str(samples.START), "end": str(samples.START + 600), "step": "15"}
ALL = '{__name__=~".+"}'


@pytest.mark.parametrize(
    ("settings", "path", "params", "status", "kind", "names"),
    [
        ({"max_query_length": 10}, "/api/v1/query", {"query": "a" * 11}, 422, "execution", "MAX_QUERY_LENGTH"),
        ({"max_query_length": 10}, "/api/v1/series", {"match[]": "a" * 11}, 422, "execution", "MAX_QUERY_LENGTH"),
        ({"max_range": 300}, RANGE, {"query": "up", **SPAN}, 422, "execution", "MAX_RANGE"),
        ({"max_range": 300}, RANGE, {"query": "up", **SPAN, "start": "0x1"}, 422, "execution", "MAX_RANGE"),
        ({"max_points": 10}, RANGE, {"query": "up", **SPAN}, 400, "bad_data", "maximum resolution of 10 points"),
        ({"max_series": 5}, "/api/v1/query", {"query": ALL, "time": str(samples.END)}, 422, "execution", "MAX_SERIES"),
        ({"max_series": 5}, RANGE, {"query": ALL, **SPAN}, 422, "execution", "MAX_SERIES"),
        ({"max_series": 5}, "/api/v1/series", {"match[]": ALL}, 422, "execution", "MAX_SERIES"),
        ({"max_response_bytes": 2048}, RANGE, {"query": ALL, **SPAN}, 422, "execution", "MAX_RESPONSE_BYTES"),
    ],
)
def test_a_limit_is_told_by_its_name(  # noqa: PLR0917  # a row of the table each
    prometheus: Engine,
    settings: dict[str, Any],
    path: str,
    params: dict[str, str],
    status: int,
    kind: str,
    names: str,
) -> None:
    with serving(prometheus.url, **settings) as client:
        answer = client.post(path, data=params)
        counted = client.get("/metrics").text

    assert (answer.status_code, answer.json()["errorType"]) == (status, kind)
    assert names in answer.json()["error"]
    limit = next(iter(settings))
    assert f'gatewayz_metrics_limit_refusals_total{{limit="{limit}"}} 1.0' in counted


def test_a_merged_answer_keeps_the_limits_too(prometheus: Engine) -> None:
    two = 'provider_availability{env="oneshot"} or (cache_size_bytes{env="production"} and on () (vector(time()) > %d))'
    query = two % (samples.START + 500)
    with serving(prometheus.url, max_series=3) as client:
        first = client.get(RANGE, params={"query": query, **SPAN, "end": str(samples.START + 450)})
        assert first.status_code == 200

        assert client.get(RANGE, params={"query": query, **SPAN}).status_code == 422


def test_nothing_over_a_limit_reaches_the_upstream() -> None:
    with FakeUpstream(answering(b"{}")) as upstream, serving(upstream.url, max_query_length=9, max_range=1) as client:
        client.post("/api/v1/query", data={"query": "a" * 10})
        client.post("/api/v1/query", data={"query": "a" * 200_000})
        client.get(RANGE, params={"query": "up", **SPAN})

        assert not upstream.requests


def test_more_queries_than_allowed_wait_and_then_are_told(prometheus: Engine) -> None:
    relay = Relay(prometheus.url, held=threading.Event())
    settings = {"max_concurrent_queries": 2, "prometheus_timeout": 0.5}

    async def crowd(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            asked = (client.get("/api/v1/query", params={"query": f"{number}+up"}) for number in range(6))
            return await asyncio.gather(*asked)

    with FakeUpstream(relay) as upstream:
        app = create_app(Settings(prometheus_url=upstream.url, **settings))  # type: ignore[arg-type]  # pydantic's
        with running(app, listening()) as url:
            answers = asyncio.run(crowd(url))
            assert {answer.status_code for answer in answers} == {503}
            assert any("MAX_CONCURRENT_QUERIES" in answer.json()["error"] for answer in answers)
            assert len(upstream.requests) <= 4
            assert relay.held is not None
            relay.held.set()
            # Places are given back; how soon six queries fit into half a second is up to the machine.
            wait_until(lambda: {answer.status_code for answer in asyncio.run(crowd(url))} == {200})


@pytest.mark.parametrize("length", [30_000, 64_000])
def test_a_long_get_gets_an_envelope(prometheus: Engine, length: int) -> None:
    query = "1" + "+1" * (length // 8)
    app = create_app(Settings(prometheus_url=prometheus.url, max_query_length=12_000))
    with running(app, listening()) as url, httpx.Client(trust_env=False) as client:
        answer = client.get(f"{url}/api/v1/query", params={"query": query})

    expected = 200 if len(query) <= 12_000 else 422
    assert answer.status_code == expected
    assert answer.json()["status"] == ("success" if expected == 200 else "error")


def test_a_url_that_no_parser_takes_is_told_about_post() -> None:
    with running(
        create_app(Settings()), listening(), http=create_protocol(lambda error: render_error(error)[1])
    ) as url:
        answers = [_raw(url, b"GET /api/v1/query?query=%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 70_000))]
        answers.append(_raw(url, b"this is not HTTP\r\n\r\n"))

    head, _, body = answers[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["errorType"] == "bad_data"
    assert "POST" in json.loads(body)["error"]
    assert answers[1].startswith(b"HTTP/1.1 400 ")


def _raw(url: str, request: bytes) -> bytes:
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


TENANTS = {"token-a": "team-a", "token-b": "team-b"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_tenant_is_told_to_mimir_and_shares_no_answer(prometheus: Engine) -> None:
    settings: dict[str, Any] = {"prometheus_engine": "mimir", "tenants": TENANTS, "api_tokens": ("admin",)}
    with FakeUpstream(Relay(prometheus.url)) as upstream, serving(upstream.url, **settings) as client:
        for path in ("/api/v1/query", RANGE, "/api/v1/labels"):
            for token in ("token-a", "token-b", "token-a", "admin"):
                params = {"query": "up", "time": str(samples.END), **SPAN}
                client.get(path, params=params, headers=bearer(token) | {"X-Scope-OrgID": "team-b"})
        sent = [request.header("X-Scope-OrgID") for request in upstream.requests]

        assert sent == [["team-a"], ["team-b"], []] * 3
        assert client.get("/api/v1/query?query=1", headers=bearer("other")).status_code == 401
        assert client.get("/prometheus/metrics/summary", headers=bearer("token-a")).status_code == 401


def test_a_tenant_of_victoria_metrics_reads_its_own_series(victoria_metrics: Engine) -> None:
    settings: dict[str, Any] = {
        "prometheus_engine": "victoriametrics",
        "tenants": {"token-a": "env=bare", "token-b": "env=oneshot"},
        "api_tokens": ("admin",),
    }
    query = {"query": "count(provider_availability) by (env)", **SPAN}

    with serving(victoria_metrics.url, **settings) as client:

        def seen(token: str, **more: str) -> list[str]:
            answer = client.get(RANGE, params={**query, **more}, headers=bearer(token))
            return sorted(series["metric"]["env"] for series in answer.json()["data"]["result"])

        for _ in range(2):
            assert seen("token-a") == ["bare"]
            assert seen("token-b") == ["oneshot"]
            assert seen("admin") == ["bare", "oneshot", "production", "staging"]
        for name in ("extra_label", "extra_filters[]", "extra_filters"):
            assert seen("token-a", **{name: "env=oneshot"}) == ["bare"]
        for token, is_traced in (("token-a", False), ("admin", True)):
            traced = client.get("/api/v1/query", params={"query": "up", "trace": "1"}, headers=bearer(token)).json()
            assert bool(traced.get("trace")) is is_traced
        rules = client.get("/api/v1/rules", headers=bearer("token-a")).json()
        assert rules == {"status": "success", "data": {"groups": []}}
        labels = client.get("/api/v1/label/env/values", params=SPAN, headers=bearer("token-b")).json()["data"]
        assert labels == ["oneshot"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prometheus_engine": "prometheus", "tenants": '{"t": "a"}', "api_tokens": "x"}, "on Prometheus a tenant is"),
        ({"prometheus_engine": "thanos", "tenants": '{"t": "=a"}', "api_tokens": "x"}, "on Thanos a tenant is"),
        ({"tenants": '{"t": "__name__=up"}', "api_tokens": "x"}, "team=a"),
        ({"prometheus_engine": "mimir", "tenants": '{"t": "a"}'}, "API_TOKENS"),
        ({"prometheus_engine": "mimir", "tenants": '{"x": "a"}', "api_tokens": "x"}, "one meaning"),
        ({"prometheus_engine": "mimir", "tenants": '{"": "a"}', "api_tokens": "x"}, "a token is empty"),
        ({"prometheus_engine": "mimir", "tenants": '{"t": "a\\nb"}', "api_tokens": "x"}, "header cannot carry"),
        ({"prometheus_engine": "victoriametrics", "tenants": '{"t": "a"}', "api_tokens": "x"}, "team=a"),
        ({"tenants": "t=a"}, "JSON object"),
        ({"tenants": '{"t": "a", "t": "b"}'}, "TENANTS cannot be used: it names something twice."),
        ({"tenants": "[" * 100_000}, "JSON object"),
        ({"prometheus_headers": '{"X": "1", "X": "2"}'}, "it names something twice."),
        ({"prometheus_headers": '{"content-Length": "1"}'}, "belongs to each request"),
        ({"prometheus_headers": '{"Transfer-Encoding": "chunked"}'}, "belongs to each request"),
        ({"prometheus_engine": "influx"}, "PROMETHEUS_ENGINE"),
        ({"max_points": "0"}, "MAX_POINTS"),
        ({"cache_range": "perhaps"}, "CACHE_RANGE"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(settings: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(**settings)

    assert says in caught.value.sentence
    assert "secret" not in caught.value.sentence
