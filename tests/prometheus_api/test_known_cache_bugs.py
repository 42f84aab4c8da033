"""Bugs that other caching gateways had, one test each."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.prometheus_api.seeded_engine import World, world
from tests.range_cache.relay import Relay
from tests.support import samples
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream, answering, error_body, in_turn
from tests.support.waiting import wait_until

RANGE = "/api/v1/query_range"
UP = 'provider_availability{env="production"}'


@pytest.fixture
def cold(prometheus: Engine) -> Iterator[TestClient]:
    with serving(prometheus.url) as client:
        yield client


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("lessons")) as found:
        yield found


def span(first: float, last: float, step: str, query: str = UP, begin: int = samples.START) -> dict[str, str]:
    return {"query": query, "start": f"{begin + first:.3f}", "end": f"{begin + last:.3f}", "step": step}


def ask(client: TestClient, engine_url: str, params: dict[str, str]) -> str:
    """The cache's mark of an answer that is the engine's own."""
    answer = client.post(RANGE, data=params)
    direct = httpx.post(f"{engine_url}{RANGE}", data=params)
    assert (answer.status_code, answer.json()) == (direct.status_code, direct.json())
    return answer.headers["X-Cache"]


def test_a_merge_returns_old_points_and_new(cold: TestClient, prometheus: Engine) -> None:
    ask(cold, prometheus.url, span(0, 1200, "15"))

    assert ask(cold, prometheus.url, span(600, 1800, "15")).startswith("partial")


def test_an_empty_result_is_known_too(cold: TestClient, prometheus: Engine) -> None:
    ask(cold, prometheus.url, span(0, 1200, "15", "no_such_metric"))

    assert ask(cold, prometheus.url, span(0, 1200, "15", "no_such_metric")) == "hit"


def test_the_last_points_are_not_frozen(live: World) -> None:
    now = int(time.time())
    live.write([({"__name__": "edge"}, 1000 * at, at) for at in range(now - 600, now - 60, 15)])
    with serving(live.url) as client:
        params = span(-600, 0, "15", "edge", now)
        ask(client, live.url, params)
        live.write([({"__name__": "edge"}, 1000 * at, -at) for at in range(now - 60, now, 15)])

        assert ask(client, live.url, params).startswith("partial")


def test_the_longest_panel_is_kept_whole(cold: TestClient, prometheus: Engine) -> None:
    """11,001 points are what Prometheus gives at most, 1,441 what Grafana often asks for."""
    for seconds in (3300, 1440 * 0.3):
        params = span(0, seconds, "300ms", "provider_availability")
        ask(cold, prometheus.url, params)
        assert ask(cold, prometheus.url, params) == "hit"


@pytest.mark.parametrize(("first", "step"), [(0.781, "0.5"), (0.781, "1.5"), (0.001, "1500ms"), (7, "0.999")])
def test_fractions_of_a_second_count(cold: TestClient, prometheus: Engine, first: float, step: str) -> None:
    assert ask(cold, prometheus.url, span(first, 300, step)).startswith("miss")
    assert ask(cold, prometheus.url, span(first, 300, step)) == "hit"
    assert ask(cold, prometheus.url, span(first, 500.25, step)).startswith("partial")


def test_get_and_post_share(cold: TestClient) -> None:
    cold.post(RANGE, data=span(0, 600, "15"))

    assert cold.get(RANGE, params=span(0, 600, "15")).headers["X-Cache"] == "hit"


@pytest.mark.parametrize("path", ["/api/v1/rules", "/api/v1/labels", "/api/v1/series", "/api/v1/query", RANGE])
@pytest.mark.parametrize("name", ["limit", "lookback_delta", "timeout", "rule_name[]", "whatever", "match[]"])
def test_every_parameter_is_part_of_the_question(path: str, name: str) -> None:
    base = {**span(0, 600, "15"), "time": str(samples.END), "match[]": "up"}
    with FakeUpstream(answering(b'{"status":"success","data":[]}')) as upstream, serving(upstream.url) as client:
        client.get(path, params=base)
        client.get(path, params={**base, name: "7h"})

        assert len(upstream.requests) == 2


def test_one_callers_no_cache_takes_nothing_from_the_others(cold: TestClient, prometheus: Engine) -> None:
    params = span(0, 600, "15")
    ask(cold, prometheus.url, params)
    cold.get(RANGE, params=params, headers={"Cache-Control": "no-cache", "Pragma": "no-cache"})
    past = cold.get(RANGE, params={**params, "nocache": "1"})

    assert past.headers["X-Cache"].startswith("bypass; reason=request")
    assert ask(cold, prometheus.url, params) == "hit"


def test_variables_of_one_dashboard_are_not_anothers(cold: TestClient) -> None:
    def values(match: str) -> object:
        return cold.get("/api/v1/label/provider/values", params={"match[]": match}).json()["data"]

    assert values('provider_availability{env="bare"}') == ["groq", "openai", "xai"]
    assert values('provider_availability{env="oneshot"}') == ["openai"]
    assert cold.get("/api/v1/label/env/values", params={"match[]": UP}).json()["data"] == ["production"]


def test_every_answer_has_a_type(cold: TestClient) -> None:
    for path in ("/api/v1/query?query=1", "/api/v1/labels", "/api/v1/rules", "/api/v1/nope", RANGE):
        assert cold.get(path).headers["content-type"] == "application/json"


def test_points_beside_the_grid_are_not_kept(prometheus: Engine) -> None:
    relay = Relay(prometheus.url)
    with FakeUpstream(relay) as upstream, serving(upstream.url) as client:
        relay.fault = relay.off_grid
        first = client.get(RANGE, params=span(0, 600, "15"))
        relay.fault = None

        assert first.headers["X-Cache"].startswith("miss; reason=off-grid")
        assert ask(client, prometheus.url, span(0, 600, "15")).startswith("miss; reason=unknown")


def test_victoria_metrics_is_told_to_keep_to_the_grid(prometheus: Engine) -> None:
    with (
        FakeUpstream(Relay(prometheus.url)) as upstream,
        serving(upstream.url, prometheus_engine="victoriametrics") as client,
    ):
        client.get(RANGE, params=span(0, 600, "15"))
        client.get(RANGE, params=span(0, 900, "15"))
        client.get(RANGE, params=span(0, 900, "15", "up[") | {"nocache": "1"})

        assert [request.form.get("nocache") for request in upstream.requests] == [["1"]] * 3


def test_gaps_of_a_partial_answer_are_not_kept(prometheus: Engine) -> None:
    relay = Relay(prometheus.url)
    with FakeUpstream(relay) as upstream, serving(upstream.url) as client:
        relay.fault = relay.with_warnings
        assert client.get(RANGE, params=span(0, 600, "15")).json()["warnings"]
        assert client.get("/api/v1/labels", params={"start": "1"}).json()["warnings"]
        relay.fault = None

        assert ask(client, prometheus.url, span(0, 600, "15")).startswith("miss")
        assert "warnings" not in client.get("/api/v1/labels", params={"start": "1"}).json()


def test_older_data_that_arrives_is_seen(live: World) -> None:
    now = int(time.time())
    live.write([({"__name__": "older"}, 1000 * at, at) for at in range(now - 1800, now - 900, 15)])
    params = span(-1800, -900, "15", "older", now)
    with serving(live.url, cache_range_ttl=3600) as forgetting_late, serving(live.url, cache_range_ttl=0.3) as client:
        for one in (forgetting_late, client):
            ask(one, live.url, params)
        live.write([({"__name__": "older", "of": "another"}, 1000 * (now - 1500), 1.0)])

        wait_until(lambda: len(client.get(RANGE, params=params).json()["data"]["result"]) == 2)
        assert len(forgetting_late.get(RANGE, params=params).json()["data"]["result"]) == 1


def test_ranges_that_are_not_aligned_are_kept_too(cold: TestClient, prometheus: Engine) -> None:
    for phase in (0, 1, 7.5):
        assert ask(cold, prometheus.url, span(phase, phase + 600, "15")).startswith("miss")
        assert ask(cold, prometheus.url, span(phase + 150, phase + 600, "15")) == "hit"


def test_a_limits_error_is_not_shown_later() -> None:
    refused = answering(error_body("execution", "query processing would load too many samples"), "422 Unprocessable")
    good = answering(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}}).encode())
    with FakeUpstream(in_turn(refused, good, refused, good)) as upstream, serving(upstream.url) as client:
        assert client.get(RANGE, params=span(0, 600, "15")).status_code == 422
        # For seconds it is, to those who take what was kept.
        assert client.get(RANGE, params=span(0, 600, "15")).status_code == 422
        new = {"Cache-Control": "no-cache"}
        assert client.get(RANGE, params=span(0, 600, "15"), headers=new).status_code == 200
        assert client.get("/api/v1/query", params={"query": "up"}).status_code == 422
        assert client.get("/api/v1/query", params={"query": "up"}).status_code == 200


def test_a_parse_error_is_asked_about_once_though_browsers_ask_twice() -> None:
    refusal = answering(error_body("bad_data", "parse error"), "400 Bad Request")
    with FakeUpstream(refusal) as upstream, serving(upstream.url) as client:
        client.post("/api/v1/series", data={"match[]": "up{"})
        assert client.get("/api/v1/series", params={"match[]": "up{"}).json()["error"] == "parse error"

        assert len(upstream.requests) == 1
