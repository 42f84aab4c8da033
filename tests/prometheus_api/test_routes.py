"""Paths, methods and headers of the Prometheus API."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gatewayz_metrics import Settings, setup_prometheus_routes
from gatewayz_metrics.errors import InvalidParameter
from gatewayz_metrics.upstream.request import Endpoint

from tests.support import samples
from tests.support.client import Answer, serving
from tests.support.engine import Engine
from tests.support.fake_upstream import FakeUpstream, answering, error_body, in_turn

PATHS = {
    "/api/v1/query": ("GET", "POST"),
    "/api/v1/query_range": ("GET", "POST"),
    "/api/v1/query_exemplars": ("GET", "POST"),
    "/api/v1/labels": ("GET", "POST"),
    "/api/v1/label/job/values": ("GET", "POST"),
    "/api/v1/series": ("GET", "POST"),
    "/api/v1/metadata": ("GET",),
    "/api/v1/alerts": ("GET",),
    "/api/v1/status/buildinfo": ("GET", "POST"),
    "/api/v1/format_query": ("GET", "POST"),
    "/api/v1/parse_query": ("GET", "POST"),
}


def envelope(answer: Answer) -> tuple[int, str, str]:
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["status"] == "error"
    return answer.status_code, document["errorType"], document["error"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_told_the_right_ones(api: TestClient, path: str, method: str) -> None:
    answer = api.request(method, path)

    if method in PATHS[path]:
        assert answer.status_code != 405
    else:
        assert envelope(answer)[:2] == (405, "bad_data")
        assert answer.headers["allow"] == ", ".join(sorted([*PATHS[path], "OPTIONS"]))


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/admin/tsdb/delete_series",
        "/api/v1/admin/tsdb/snapshot",
        "/api/v1/write",
        "/api/v1/read",
        "/api/v1/otlp/v1/metrics",
        "/-/reload",
        "/-/quit",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_what_writes_is_forbidden(api: TestClient, path: str, method: str) -> None:
    assert envelope(api.request(method, path))[:2] == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/rules"),
        ("DELETE", "/api/v1/rules"),
        ("GET", "/rules/test/test"),
        ("POST", "/rules/a"),
        ("GET", "/rules"),
        ("GET", "/config/v1/rules"),
        ("DELETE", "/config/v1/rules/a/b"),
    ],
)
def test_there_is_no_ruler(api: TestClient, method: str, path: str) -> None:
    assert envelope(api.request(method, path)) == (404, "not_found", "page not found")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nope",
        "/api/v1/targets",
        "/api/v1/status/config",
        "/api/v1/status/flags",
        "/api/v1/query/",
        "/api/v1//query",
        "/api/v1/query%2F..%2Fadmin",
        "/api/v1/label/job",
        "/federate",
        "/debug/pprof/cmdline",
        "/graph",
    ],
)
def test_other_paths_do_not_exist_and_redirect_nowhere(api: TestClient, path: str) -> None:
    assert envelope(api.get(path, follow_redirects=False))[:2] == (404, "not_found")


def test_nothing_that_is_refused_reaches_the_upstream() -> None:
    with FakeUpstream(answering(b"{}")) as upstream, serving(upstream.url) as client:
        for method in ("GET", "POST", "PUT", "DELETE"):
            for path in ("/api/v1/admin/tsdb/delete_series", "/api/v1/../admin", "/api/v1/label/../values", "/-/quit"):
                client.request(method, path)
        client.get("/api/v1/label/%2E%2E/values")

        assert not upstream.requests


@pytest.mark.parametrize("path", ["/api/v1/query", "/api/v1/label/job/values", "/api/v1/targets", "/api/v1/rules"])
def test_options_are_as_the_engine_answers_them(api: TestClient, prometheus: Engine, path: str) -> None:
    """1.7: OPTIONS."""
    ours, direct = api.options(path), httpx.options(f"{prometheus.url}{path}")

    assert (ours.status_code, ours.content) == (direct.status_code, direct.content) == (204, b"")


@pytest.mark.parametrize("path", ["/-/ready", "/-/healthy"])
def test_the_engines_probes_are_answered_in_its_words(api: TestClient, prometheus: Engine, path: str) -> None:
    """1.7: /-/ready and /-/healthy."""
    ours, direct = api.get(path), httpx.get(f"{prometheus.url}{path}")

    assert (ours.status_code, ours.content) == (direct.status_code, direct.content)
    assert ours.headers["content-type"] == direct.headers["content-type"]
    assert api.head(path).status_code == 200
    with serving() as client:
        assert client.get(path).status_code == (503 if path == "/-/ready" else 200)
    with serving(api_tokens=("right",)) as client:
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", ["//api/v1/query?query=1", "/api//v1/query?query=1"])
def test_a_doubled_slash_is_refused_in_this_apis_words(api: TestClient, path: str) -> None:
    """1.7: //api/v1/query; the engine redirects, which could carry a query elsewhere."""
    answer = api.get(f"http://testserver{path}", follow_redirects=False)

    assert envelope(answer)[:2] == (404, "not_found")


def test_what_only_reads_is_not_refused_as_if_it_wrote(api: TestClient) -> None:
    """1.7: targets and status."""
    for path in ("/api/v1/targets", "/api/v1/status/tsdb"):
        status, _, sentence = envelope(api.get(path))
        assert status == 404
        assert "queries, labels, series, metadata, rules and alerts" in sentence


@pytest.mark.parametrize("name", ["bad%FFname", "%FF", "a%22%C3%28b", "%EF%BF%BD"])
def test_a_label_name_that_is_no_utf8_is_refused_as_the_engine_does(
    api: TestClient, prometheus: Engine, name: str
) -> None:
    """1.7: label/bad%FFname."""
    ours, direct = (
        get(f"{base}/api/v1/label/{name}/values") for get, base in ((api.get, ""), (httpx.get, prometheus.url))
    )

    assert (ours.status_code, ours.content) == (direct.status_code, direct.content)


def test_a_method_override_is_ignored(api: TestClient) -> None:
    answer = api.get("/api/v1/query", params={"query": "1"}, headers={"X-HTTP-Method-Override": "DELETE"})

    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["job", "__name__", "nothing_like_it", "a.b", "%C3%BC", "a-b", "1a"])
def test_label_names_are_the_engines_to_judge(api: TestClient, prometheus: Engine, name: str) -> None:
    path = f"/api/v1/label/{name}/values"
    direct = httpx.get(f"{prometheus.url}{path}")

    for ours in (api.get(path), api.post(path)):
        assert (ours.status_code, ours.json()) == (direct.status_code, direct.json())


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("U__a_2e_b", "U__a_2e_b"),
        ("a%2Fb", "U__a_2f_b"),
        ("a_%2F%C3%BC", "U__a___2f__fc_"),
        ("a%20%3F%23b", "a%20%3F%23b"),
        ("%C3%BC", "%C3%BC"),
    ],
)
def test_label_names_survive_the_way(name: str, sent: str) -> None:
    with FakeUpstream(answering(b'{"status":"success","data":[]}')) as upstream, serving(upstream.url) as client:
        client.get(f"/api/v1/label/{name}/values")

        assert [request.path for request in upstream.requests] == [f"/api/v1/label/{sent}/values"]


@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "a\udcffb", "\x00"])
def test_a_label_name_that_no_engine_takes_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter):
        Endpoint.LABEL_VALUES.path(name)


LARGE = {"query": '{__name__=~".+"}', "time": str(samples.END)}


def test_bodies_are_gzip_or_plain(api: TestClient) -> None:
    plain = api.get("/api/v1/query", params=LARGE, headers={"Accept-Encoding": "identity"})
    for accepted in ("gzip", "gzip, deflate, br, zstd", "br;q=1, gzip;q=0.1"):
        with api.stream("GET", "/api/v1/query", params=LARGE, headers={"Accept-Encoding": accepted}) as answer:
            packed = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["content-length"] == str(len(packed))
        assert gzip.decompress(packed) == plain.content
    for accepted in ("br, zstd", "gzip;q=0", ""):
        answer = api.get("/api/v1/query", params=LARGE, headers={"Accept-Encoding": accepted})
        assert "content-encoding" not in answer.headers
        assert answer.headers["vary"] == "Accept-Encoding"


BODIES = [
    b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1.5,"1e+21"]}]}}',
    b'{"status":"success","data":{"resultType":"scalar","result":[4,"NaN"]},"warnings":["w"],"infos":["i"]}\n',
    b'{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]},"stats":{"x":"1"}}',
    b'{"data":{"resultType":"vector","result":[]},"status":"success"}',
    b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"\\u0062"},'
    b'"histogram":[1,{"count":"1","sum":"2","buckets":[[0,"1","2","1"]]}]}]}}',
    b'{"status":"error","errorType":"execution","error":"within a 200"}',
]


@pytest.mark.parametrize("body", BODIES)
def test_an_envelope_passes_byte_for_byte(body: bytes) -> None:
    with FakeUpstream(answering(body)) as upstream, serving(upstream.url) as client:
        assert client.get("/api/v1/query?query=x").content == body


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "422 Unprocessable Entity", "503 Service Unavailable", "404 Not Found"]
)
def test_a_refusal_passes_byte_for_byte(status: str) -> None:
    body = b' {"status":"error","errorType":"x","error":"y", "data" : 1}\n'
    with FakeUpstream(answering(body, status)) as upstream, serving(upstream.url) as client:
        answer = client.post("/api/v1/query", data={"query": "x"})

    assert (f"{answer.status_code}", answer.content) == (status[:3], body)


def test_nothing_is_204() -> None:
    with FakeUpstream(answering(b"", "204 No Content")) as upstream, serving(upstream.url) as client:
        answer = client.post("/api/v1/query_exemplars", data={"query": "1"})

    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("token", [None, "wrong"])
def test_the_tokens_close_every_path(prometheus: Engine, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with serving(prometheus.url, api_tokens=("right",)) as client:
        for path in (*PATHS, "/api/v1/rules", "/api/v1/nope", "/api/v1/admin/x", "/rules/test/test"):
            answer = client.get(path, headers=headers)
            assert envelope(answer)[:2] == (401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        ours = client.get("/api/v1/query?query=1", headers={"Authorization": "Bearer right"})
        assert ours.status_code == 200


def test_buildinfo_offers_no_rule_editor_and_outlives_an_outage() -> None:
    body = {"status": "success", "data": {"version": "3.5.0", "features": {"ruler_config_api": "true"}}}
    once = in_turn(answering(json.dumps(body).encode()), answering(b"", "502 Bad Gateway"))
    with FakeUpstream(once) as upstream, serving(upstream.url, cache_ttl=0) as client:
        assert client.get("/api/v1/status/buildinfo").json()["data"] == {"version": "3.5.0"}
        assert client.post("/api/v1/status/buildinfo").json()["data"] == {"version": "3.5.0"}


def test_an_upstream_without_buildinfo_gets_a_version() -> None:
    with (
        FakeUpstream(answering(b"404 page not found", "404 Not Found", Content_Type="text/plain")) as upstream,
        serving(upstream.url) as client,
    ):
        answer = client.get("/api/v1/status/buildinfo")

    assert (answer.status_code, list(answer.json()["data"])) == (200, ["version"])


def test_what_an_upstream_lacks_is_not_found_and_no_outage(prometheus: Engine) -> None:
    with serving(prometheus.url) as client:
        for _ in range(7):
            assert envelope(client.get("/api/v1/parse_query?query=up"))[:2] == (404, "not_found")
        assert client.get("/api/v1/query?query=1").status_code == 200


def drop_in(url: str, **arguments: str | None) -> TestClient:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with setup_prometheus_routes(app, settings=Settings(prometheus_url=url), **arguments):
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/api/v1/users")
    def users() -> str:
        return "the host's"

    @app.get("/{path:path}")
    def everything(path: str) -> str:
        return f"the host's {path}"

    return TestClient(app)


@pytest.mark.parametrize(
    ("arguments", "prefix"), [({"prometheus_api": ""}, ""), ({"prometheus_api": "/t/team-a"}, "/t/team-a")]
)
def test_a_host_serves_it_under_a_prefix(prometheus: Engine, arguments: dict[str, str | None], prefix: str) -> None:
    with drop_in(prometheus.url, **arguments) as client:
        assert client.get(f"{prefix}/api/v1/query?query=1%2B1").json()["data"]["result"][1] == "2"
        assert client.get(f"{prefix}/api/v1/label/job/values").json()["data"] == ["gateway"]
        assert client.post(f"{prefix}/api/v1/series").status_code == 400
        # At the root the host's own paths stay its own.
        assert client.get("/api/v1/users").json() == "the host's"
        assert client.get("/rules").json() == "the host's rules"
        assert client.get("/-/quit").json() == "the host's -/quit"


def test_a_host_may_leave_it_out(prometheus: Engine) -> None:
    with drop_in(prometheus.url, prometheus_api=None) as client:
        assert client.get("/api/v1/query?query=1").json() == "the host's api/v1/query"
        assert client.get("/prometheus/metrics/summary").status_code == 200


def test_an_outage_is_told_in_words_that_grafana_shows() -> None:
    with serving() as client:
        status, kind, sentence = envelope(client.get("/api/v1/query?query=1%2B1&time=4"))

    assert (status, kind) == (503, "unavailable")
    assert "PROMETHEUS_URL" in sentence


@pytest.mark.parametrize(
    ("path", "status"), [("/api/v1/query?query=x", 503), ("/api/v1/labels", 503), ("/api/v1/query_range?query=x", 503)]
)
def test_a_login_page_is_no_answer(path: str, status: int) -> None:
    page = answering(b"<html>{}</html>", Content_Type="text/html")
    with FakeUpstream(page) as upstream, serving(upstream.url) as client:
        assert envelope(client.get(path))[:2] == (status, "unavailable")


def test_an_error_envelope_of_any_status_stays_what_it_is() -> None:
    gone = answering(error_body("internal", "a block is gone"), "500 Internal Server Error")
    with FakeUpstream(gone) as upstream, serving(upstream.url) as client:
        assert envelope(client.get("/api/v1/query?query=x")) == (500, "internal", "a block is gone")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/label/a%0Ab/values", "bad_data"),
        ("/api/v1/a%0Ab", "not_found"),
        ("/-/a%0Ab", "forbidden"),
    ],
)
def test_a_line_feed_in_a_path_is_told_in_the_envelope(api: TestClient, path: str, kind: str) -> None:
    assert envelope(api.get(path))[1] == kind
