"""The client's requests, one by one: where they go, what they carry, when they are sent again."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from gatewayz_metrics import Settings
from gatewayz_metrics.errors import (
    BadAnswer,
    ConnectionLost,
    InvalidParameter,
    Misconfigured,
    NotServed,
    PoolExhausted,
    QueryRefused,
    RateLimited,
    ServiceError,
    TimedOut,
    TlsFailed,
    Unreachable,
)
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import UpstreamClient
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint, Tenant
from gatewayz_metrics.watched_files import FileWatcher

HOST = "http://prometheus:9090"
SUCCESS = httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": []}})
GET_ALONE = httpx.Response(405, text="Method Not Allowed", headers={"Allow": "GET"})
QUERY = ApiRequest(Endpoint.QUERY, (("query", "up"),))

Work = Callable[[UpstreamClient], Awaitable[Any]]


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    """The upstream: every request that no route of it takes fails the test."""
    with respx.mock(base_url=HOST, assert_all_called=True) as found:
        yield found


def sent(router: respx.MockRouter) -> list[httpx.Request]:
    """Every request so far."""
    return [call.request for call in router.calls]


def use(*steps: Work, url: str = HOST, **options: Any) -> None:
    """One client, used step by step."""

    async def work() -> None:
        async with UpstreamClient(Settings(prometheus_url=url, **options), Telemetry()) as upstream:
            for step in steps:
                await step(upstream)

    asyncio.run(work())


def forward(call: ApiRequest = QUERY) -> Work:
    return lambda upstream: upstream.forward(call)


def instant(query: str, time: float | None = None) -> Work:
    return lambda upstream: upstream.instant(query, time)


# --------------------------------------------------------------------------- where they go


@pytest.mark.parametrize("prefix", ["", "/", "/prefix", "/prefix/", "/select/0/prometheus"])
def test_the_path_of_the_url_is_kept(router: respx.MockRouter, prefix: str) -> None:
    router.post(f"{prefix.rstrip('/')}/api/v1/query").mock(SUCCESS)

    use(instant("up"), url=HOST + prefix)


@pytest.mark.parametrize(
    ("endpoint", "method", "path"),
    [
        (Endpoint.QUERY, "POST", "/api/v1/query"),
        (Endpoint.QUERY_RANGE, "POST", "/api/v1/query_range"),
        (Endpoint.QUERY_EXEMPLARS, "POST", "/api/v1/query_exemplars"),
        (Endpoint.LABELS, "POST", "/api/v1/labels"),
        (Endpoint.SERIES, "POST", "/api/v1/series"),
        (Endpoint.FORMAT_QUERY, "POST", "/api/v1/format_query"),
        (Endpoint.PARSE_QUERY, "POST", "/api/v1/parse_query"),
        (Endpoint.METADATA, "GET", "/api/v1/metadata"),
        (Endpoint.RULES, "GET", "/api/v1/rules"),
        (Endpoint.ALERTS, "GET", "/api/v1/alerts"),
        (Endpoint.BUILDINFO, "GET", "/api/v1/status/buildinfo"),
    ],
)
def test_an_endpoint_is_asked_by_the_method_that_it_takes(
    router: respx.MockRouter, endpoint: Endpoint, method: str, path: str
) -> None:
    router.route(method=method, path=path).mock(SUCCESS)

    use(forward(ApiRequest(endpoint)))


@pytest.mark.parametrize(
    ("label", "path"),
    [
        ("job", "/api/v1/label/job/values"),
        ("my.label", "/api/v1/label/my.label/values"),
        ("größe", "/api/v1/label/gr%C3%B6%C3%9Fe/values"),
        ("a?b#c", "/api/v1/label/a%3Fb%23c/values"),
        ("../../admin", "/api/v1/label/U___2e__2e__2f__2e__2e__2f_admin/values"),
    ],
)
def test_the_name_of_a_label_is_one_segment_of_the_path(router: respx.MockRouter, label: str, path: str) -> None:
    router.get(url__regex=".*").mock(SUCCESS)
    use(forward(ApiRequest(Endpoint.LABEL_VALUES, label=label)))

    assert [request.url.raw_path.decode() for request in sent(router)] == [path]


# --------------------------------------------------------------------------- what they carry


FORMS = ["query=up%7Ba%3D%22%C3%BC%26%3D%2B%25%0A%22%7D&time=1760000000.123", "query=up"]


def test_parameters_travel_as_a_form(router: respx.MockRouter) -> None:
    router.post("/api/v1/query").mock(SUCCESS)
    use(instant('up{a="ü&=+%\n"}', 1_760_000_000.1234), instant("up"))

    assert [request.content.decode() for request in sent(router)] == FORMS
    assert {request.headers["content-type"] for request in sent(router)} == {"application/x-www-form-urlencoded"}
    assert {request.url.query for request in sent(router)} == {b""}


def test_parameters_travel_in_the_url_where_post_is_refused(router: respx.MockRouter) -> None:
    router.post("/api/v1/query").mock(GET_ALONE)
    router.get("/api/v1/query").mock(SUCCESS)
    use(instant('up{a="ü&=+%\n"}', 1_760_000_000.1234), instant("up"))

    assert [request.url.query.decode() for request in sent(router)[1:]] == FORMS
    assert {request.content for request in sent(router)[1:]} == {b""}


def test_what_was_no_utf8_goes_out_as_it_came(router: respx.MockRouter) -> None:
    router.post("/api/v1/query").mock(SUCCESS)
    use(forward(ApiRequest(Endpoint.QUERY, (("query", b"a\xff".decode(errors="surrogateescape")),))))

    assert sent(router)[0].content == b"query=a%FF"


@pytest.mark.parametrize(
    ("userinfo", "options", "header"),
    [
        ("", {}, None),
        ("ann:p%40ss%2Fw%3Ard@", {}, "Basic YW5uOnBAc3MvdzpyZA=="),
        ("", {"prometheus_username": "ann", "prometheus_password": "p@ss/w:rd"}, "Basic YW5uOnBAc3MvdzpyZA=="),
        ("url:url@", {"prometheus_username": "ann", "prometheus_password": "x"}, "Basic YW5uOng="),
        ("", {"prometheus_bearer_token": "abc"}, "Bearer abc"),
        ("", {"prometheus_headers": {"Authorization": "Api-Key k"}}, "Api-Key k"),
    ],
    ids=["nothing", "in the URL", "on their own", "both", "bearer", "a header"],
)
def test_credentials_arrive(
    router: respx.MockRouter, userinfo: str, options: dict[str, Any], header: str | None
) -> None:
    router.post("/api/v1/query").mock(SUCCESS)
    use(instant("up"), url=HOST.replace("//", f"//{userinfo}"), **options)

    assert sent(router)[0].headers.get("authorization") == header


def test_headers_arrive_whatever_the_method(router: respx.MockRouter) -> None:
    router.post("/api/v1/query").mock(GET_ALONE)
    router.get("/api/v1/query").mock(SUCCESS)
    use(instant("up"), prometheus_headers={"X-Scope-OrgID": "team-a"}, prometheus_bearer_token="abc")

    for request in sent(router):
        assert request.headers["x-scope-orgid"] == "team-a"
        assert request.headers["authorization"] == "Bearer abc"
        assert request.headers["accept"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"


def test_a_tenant_is_named_in_its_own_requests_alone(router: respx.MockRouter) -> None:
    router.post("/api/v1/query").mock(SUCCESS)
    by_header = Tenant(headers=(("X-Scope-OrgID", "team-a"),))
    by_parameter = Tenant(parameters=(("extra_label", "team=b"),))
    use(*(forward(ApiRequest(Endpoint.QUERY, tenant=tenant)) for tenant in (by_header, by_parameter, Tenant())))

    assert [request.headers.get("x-scope-orgid") for request in sent(router)] == ["team-a", None, None]
    assert [request.content for request in sent(router)] == [b"", b"extra_label=team%3Db", b""]


def test_a_cookie_of_the_upstream_is_not_sent_back(router: respx.MockRouter) -> None:
    # A cookie that came with one caller's answer would travel with the requests of all others.
    router.post("/api/v1/query").respond(200, json=SUCCESS.json(), headers={"Set-Cookie": "session=a; Path=/"})
    use(instant("up"), instant("up"))

    assert [request.headers.get("cookie") for request in sent(router)] == [None, None]


@pytest.mark.parametrize(("setting", "encoding"), [(True, "gzip"), (False, "identity")])
def test_compression_is_asked_for_when_configured(router: respx.MockRouter, setting: bool, encoding: str) -> None:
    router.post("/api/v1/query").mock(SUCCESS)
    use(instant("up"), prometheus_gzip=setting)

    assert sent(router)[0].headers["accept-encoding"] == encoding


def test_a_token_file_is_read_again_when_it_changes(router: respx.MockRouter, tmp_path: Path) -> None:
    router.post("/api/v1/query").mock(SUCCESS)
    file = tmp_path / "token"
    file.write_text("first\n")

    async def rotate(client: UpstreamClient) -> None:
        before = file.stat()
        file.write_text("second\n")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        await FileWatcher(client.watched_files).look()

    use(instant("up"), instant("up"), rotate, instant("up"), prometheus_bearer_token_file=file)

    assert [request.headers["authorization"] for request in sent(router)] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two\nlines", b"t\xc3\xb6ken", b"nul\x00"])
def test_a_token_file_without_a_token_sends_nothing(
    router: respx.MockRouter, content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        use(instant("up"), prometheus_bearer_token_file=file)

    assert f"PROMETHEUS_BEARER_TOKEN_FILE {file}" in caught.value.sentence
    assert "lines" not in caught.value.sentence
    assert sent(router) == []


# --------------------------------------------------------------------------- when they are sent again


def methods(router: respx.MockRouter) -> list[str]:
    return [request.method for request in sent(router)]


def test_post_gives_way_to_get_and_stays_away(router: respx.MockRouter) -> None:
    router.post("/api/v1/query").mock(GET_ALONE)
    router.get("/api/v1/query", params={"query": "up"}).mock(SUCCESS)
    router.get("/api/v1/labels").mock(SUCCESS)
    use(instant("up"), instant("up"), forward(ApiRequest(Endpoint.LABELS)))

    assert methods(router) == ["POST", "GET", "GET", "GET"]


def test_another_client_tries_post_again(router: respx.MockRouter) -> None:
    router.post("/api/v1/query").mock(GET_ALONE)
    router.get("/api/v1/query").mock(SUCCESS)
    for _ in range(2):
        use(instant("up"))

    assert methods(router) == ["POST", "GET", "POST", "GET"]


def test_a_path_that_takes_no_get_says_nothing_about_post(router: respx.MockRouter) -> None:
    router.get("/api/v1/metadata").mock(GET_ALONE)
    router.post("/api/v1/query").mock(SUCCESS)

    async def look(upstream: UpstreamClient) -> None:
        with pytest.raises(NotServed):
            await upstream.forward(ApiRequest(Endpoint.METADATA))

    use(look, instant("up"))

    assert methods(router) == ["GET", "POST"]


LOST = [
    httpx.ReadError("reset by peer"),
    httpx.WriteError("broken pipe"),
    httpx.CloseError("closed"),
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
]


def named(error: object) -> str:
    return type(error).__name__ if isinstance(error, Exception) else str(error)


@pytest.mark.parametrize("lost", LOST, ids=named)
def test_a_request_whose_connection_died_is_sent_once_more(router: respx.MockRouter, lost: Exception) -> None:
    router.post("/api/v1/query").mock(side_effect=[lost, SUCCESS])
    use(instant("up"))
    first, second = sent(router)

    assert (first.method, first.url, first.content) == (second.method, second.url, second.content)


@pytest.mark.parametrize("lost", LOST, ids=named)
def test_a_connection_that_dies_again_is_the_error(router: respx.MockRouter, lost: Exception) -> None:
    router.post("/api/v1/query").mock(side_effect=[lost, lost, SUCCESS])
    with pytest.raises(ConnectionLost):
        use(instant("up"))

    assert len(sent(router)) == 2


def test_every_request_may_lose_a_connection(router: respx.MockRouter) -> None:
    router.post("/api/v1/query").mock(side_effect=[LOST[0], SUCCESS, LOST[0], SUCCESS])
    use(instant("up"), instant("up"))

    assert len(sent(router)) == 4


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (httpx.ConnectError("[Errno -2] Name or service not known"), Unreachable),
        (httpx.ConnectTimeout(""), TimedOut),
        (httpx.ReadTimeout(""), TimedOut),
        (httpx.PoolTimeout(""), PoolExhausted),
        (httpx.DecodingError("incorrect header check"), BadAnswer),
        (httpx.UnsupportedProtocol("unsupported"), Unreachable),
        (UnicodeEncodeError("idna", "x", 0, 1, "label too long"), Unreachable),
        (OSError(24, "Too many open files"), Unreachable),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), TlsFailed),
    ],
    ids=named,
)
def test_whatever_else_the_transport_raises_is_one_of_our_errors_at_once(
    router: respx.MockRouter, raised: Exception, error: type[ServiceError]
) -> None:
    router.post("/api/v1/query").mock(side_effect=raised)
    with pytest.raises(error) as caught:
        use(instant("up"))

    assert type(caught.value) is error
    assert len(sent(router)) == 1


def test_what_no_url_can_hold_is_a_refused_query() -> None:
    with pytest.raises(QueryRefused, match="too long for the URL"):
        use(forward(ApiRequest(Endpoint.LABEL_VALUES, (("match[]", "a" * 70_000),), label="job")))


def test_a_long_label_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidParameter, match="45,000 characters"):
        use(forward(ApiRequest(Endpoint.LABEL_VALUES, label="`a`" * 15_000)))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 502, 503])
def test_an_answer_is_never_asked_for_again(router: respx.MockRouter, status: int) -> None:
    router.post("/api/v1/query").respond(status, json={"status": "error", "errorType": "timeout", "error": "no"})
    with pytest.raises(ServiceError):
        use(instant("up"))

    assert len(sent(router)) == 1


def retry_after(router: respx.MockRouter, value: str | None) -> float | None:
    """The pause in seconds that the client reads from a 429."""
    headers = {} if value is None else {"Retry-After": value}
    router.post("/api/v1/query").respond(429, headers=headers)
    with pytest.raises(RateLimited) as caught:
        use(instant("up"))
    return caught.value.retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("50", 50.0),
        ("99999999999999999999", 999_999.0),
        ("-1", None),
        ("1.5", None),
        ("later", None),
        ("Wed, 99 Foo 2025 25:61:00 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
    ],
)
def test_the_pause_of_a_rate_limit_is_read(router: respx.MockRouter, value: str | None, seconds: float | None) -> None:
    assert retry_after(router, value) == seconds


def test_the_pause_of_a_rate_limit_may_be_a_date(router: respx.MockRouter) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    found = retry_after(router, format_datetime(tomorrow, usegmt=True))

    assert found is not None
    assert 0 < found <= timedelta(days=1).total_seconds()
