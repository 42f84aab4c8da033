"""The client's requests, one by one: where they go, what they carry, when they are sent again."""

import asyncio
import os
import socket
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

from tests.support import fake_upstream as fakes
from tests.support.fake_upstream import Behaviour, Exchange, FakeUpstream, answering, in_turn

HOST = "http://prometheus:9090"
SUCCESS = httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": []}})
QUERY = ApiRequest(Endpoint.QUERY, (("query", "up"),))

Work = Callable[[UpstreamClient], Awaitable[Any]]


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[respx.MockRouter]:
    """The upstream as hosts mock it: every request that no route of it takes fails the test."""
    monkeypatch.setenv("UPSTREAM_CLIENT", "httpx")
    with respx.mock(base_url=HOST, assert_all_called=True) as found:
        yield found


@pytest.fixture
def upstream(http_library: str) -> Iterator[FakeUpstream]:
    """An upstream for each library that answers everything."""
    assert http_library
    with FakeUpstream(fakes.no_series) as fake:
        yield fake


@pytest.fixture
def get_alone(http_library: str) -> Iterator[FakeUpstream]:
    """An upstream for each library that knows no POST."""
    assert http_library
    with FakeUpstream(when_posted(answering(b"Method Not Allowed", "405 Method Not Allowed", Allow="GET"))) as fake:
        yield fake


def when_posted(behaviour: Behaviour) -> Behaviour:
    """The behaviour for POST, and an answer to everything else."""
    return lambda exchange: (behaviour if exchange.request.method == "POST" else fakes.no_series)(exchange)


def targets(fake: FakeUpstream) -> list[tuple[str, str]]:
    """Method and target of every request so far."""
    return [(request.method, request.target) for request in fake.requests]


def headers(fake: FakeUpstream, name: str) -> list[list[str]]:
    """What every request so far has in a header."""
    return [request.header(name) for request in fake.requests]


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


@pytest.mark.parametrize("prefix", ["", "/", "/prefix", "/prefix/", "/select/0/prometheus", "/gr%C3%B6%C3%9Fe"])
def test_the_path_of_the_url_is_kept(upstream: FakeUpstream, prefix: str) -> None:
    use(instant("up"), url=upstream.url + prefix)

    assert targets(upstream) == [("POST", f"{prefix.rstrip('/')}/api/v1/query")]


def test_a_path_in_other_letters_is_escaped(upstream: FakeUpstream) -> None:
    use(instant("up"), url=f"{upstream.url}/größe")

    assert targets(upstream) == [("POST", "/gr%C3%B6%C3%9Fe/api/v1/query")]


def test_an_address_of_ipv6_is_asked(http_library: str) -> None:
    assert http_library
    with FakeUpstream(fakes.no_series, listens_on=("::1", 0)) as fake:
        port = fake.port
        use(instant("up"), url=f"http://[::1]:{port}")

    assert headers(fake, "host") == [[f"[::1]:{port}"]]


def test_a_name_in_other_letters_is_looked_up_in_ascii(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    look_up = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        asked.append(host.decode() if isinstance(host, bytes) else host)
        return look_up("127.0.0.1", *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    use(instant("up"), url=f"http://größe.example:{upstream.port}")

    assert asked[0] == "xn--gre-6ka8i.example"
    assert headers(upstream, "host") == [[f"xn--gre-6ka8i.example:{upstream.port}"]]


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
    upstream: FakeUpstream, endpoint: Endpoint, method: str, path: str
) -> None:
    use(forward(ApiRequest(endpoint)), url=upstream.url)

    assert targets(upstream) == [(method, path)]


@pytest.mark.parametrize(
    ("label", "path"),
    [
        ("job", "/api/v1/label/job/values"),
        ("my.label", "/api/v1/label/my.label/values"),
        ("größe", "/api/v1/label/gr%C3%B6%C3%9Fe/values"),
        ("a?b#c", "/api/v1/label/a%3Fb%23c/values"),
        ("a:b+c%", "/api/v1/label/a%3Ab%2Bc%25/values"),
        ("../../admin", "/api/v1/label/U___2e__2e__2f__2e__2e__2f_admin/values"),
    ],
)
def test_the_name_of_a_label_is_one_segment_of_the_path(upstream: FakeUpstream, label: str, path: str) -> None:
    use(forward(ApiRequest(Endpoint.LABEL_VALUES, label=label)), url=upstream.url)

    assert targets(upstream) == [("GET", path)]


# --------------------------------------------------------------------------- what they carry


FORMS = ["query=up%7Ba%3D%22%C3%BC%26%3D%2B%25%0A%22%7D&time=1760000000.123", "query=up"]


def test_parameters_travel_as_a_form(upstream: FakeUpstream) -> None:
    use(instant('up{a="ü&=+%\n"}', 1_760_000_000.1234), instant("up"), url=upstream.url)

    assert [request.body.decode() for request in upstream.requests] == FORMS
    assert headers(upstream, "content-type") == [["application/x-www-form-urlencoded"]] * 2
    assert targets(upstream) == [("POST", "/api/v1/query")] * 2


def test_parameters_travel_in_the_url_where_post_is_refused(get_alone: FakeUpstream) -> None:
    use(instant('up{a="ü&=+%\n"}', 1_760_000_000.1234), instant("up"), url=get_alone.url)

    assert targets(get_alone)[1:] == [("GET", f"/api/v1/query?{form}") for form in FORMS]
    assert [request.body for request in get_alone.requests[1:]] == [b""] * 2
    assert headers(get_alone, "content-type")[1:] == [[], []]


def test_what_was_no_utf8_goes_out_as_it_came(upstream: FakeUpstream) -> None:
    query = b"a\xff".decode(errors="surrogateescape")
    use(forward(ApiRequest(Endpoint.QUERY, (("query", query),))), url=upstream.url)

    assert upstream.requests[0].body == b"query=a%FF"


@pytest.mark.parametrize(
    ("userinfo", "options", "header"),
    [
        ("", {}, []),
        ("ann:p%40ss%2Fw%3Ard@", {}, ["Basic YW5uOnBAc3MvdzpyZA=="]),
        ("", {"prometheus_username": "ann", "prometheus_password": "p@ss/w:rd"}, ["Basic YW5uOnBAc3MvdzpyZA=="]),
        ("url:url@", {"prometheus_username": "ann", "prometheus_password": "x"}, ["Basic YW5uOng="]),
        ("", {"prometheus_bearer_token": "abc"}, ["Bearer abc"]),
        ("", {"prometheus_headers": {"Authorization": "Api-Key k"}}, ["Api-Key k"]),
    ],
    ids=["nothing", "in the URL", "on their own", "both", "bearer", "a header"],
)
def test_credentials_arrive(upstream: FakeUpstream, userinfo: str, options: dict[str, Any], header: list[str]) -> None:
    use(instant("up"), url=upstream.url.replace("//", f"//{userinfo}"), **options)

    assert headers(upstream, "authorization") == [header]


def test_headers_arrive_whatever_the_method(get_alone: FakeUpstream) -> None:
    options = {"prometheus_headers": {"X-Scope-OrgID": "team-a"}, "prometheus_bearer_token": "abc"}
    use(instant("up"), url=get_alone.url, **options)

    assert headers(get_alone, "x-scope-orgid") == [["team-a"]] * 2
    assert headers(get_alone, "authorization") == [["Bearer abc"]] * 2
    assert headers(get_alone, "accept") == [["application/json"]] * 2
    assert headers(get_alone, "accept-encoding") == [["identity"]] * 2


def test_a_tenant_is_named_in_its_own_requests_alone(upstream: FakeUpstream) -> None:
    by_header = Tenant(headers=(("X-Scope-OrgID", "team-a"),))
    by_parameter = Tenant(parameters=(("extra_label", "team=b"),))
    tenants = (by_header, by_parameter, Tenant())
    use(*(forward(ApiRequest(Endpoint.QUERY, tenant=tenant)) for tenant in tenants), url=upstream.url)

    assert headers(upstream, "x-scope-orgid") == [["team-a"], [], []]
    assert [request.body for request in upstream.requests] == [b"", b"extra_label=team%3Db", b""]


def test_a_cookie_of_the_upstream_is_not_sent_back(http_library: str) -> None:
    # A cookie that came with one caller's answer would travel with the requests of all others.
    assert http_library
    with FakeUpstream(answering(fakes.vector_body([]), Set_Cookie="session=a; Path=/")) as fake:
        use(instant("up"), instant("up"), url=fake.url)

    assert headers(fake, "cookie") == [[], []]


@pytest.mark.parametrize(("setting", "encoding"), [(True, "gzip"), (False, "identity")])
def test_compression_is_asked_for_when_configured(upstream: FakeUpstream, setting: bool, encoding: str) -> None:
    use(instant("up"), url=upstream.url, prometheus_gzip=setting)

    assert headers(upstream, "accept-encoding") == [[encoding]]


def test_a_token_file_is_read_again_when_it_changes(upstream: FakeUpstream, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")

    async def rotate(client: UpstreamClient) -> None:
        before = file.stat()
        file.write_text("second\n")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        await FileWatcher(client.watched_files).look()

    steps = (instant("up"), instant("up"), rotate, instant("up"))
    use(*steps, url=upstream.url, prometheus_bearer_token_file=file)

    assert headers(upstream, "authorization") == [["Bearer first"], ["Bearer first"], ["Bearer second"]]


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


def methods(fake: FakeUpstream) -> list[str]:
    return [request.method for request in fake.requests]


def test_post_gives_way_to_get_and_stays_away(get_alone: FakeUpstream) -> None:
    use(instant("up"), instant("up"), forward(ApiRequest(Endpoint.LABELS)), url=get_alone.url)

    assert methods(get_alone) == ["POST", "GET", "GET", "GET"]


def test_another_client_tries_post_again(get_alone: FakeUpstream) -> None:
    for _ in range(2):
        use(instant("up"), url=get_alone.url)

    assert methods(get_alone) == ["POST", "GET", "POST", "GET"]


@pytest.mark.usefixtures("http_library")
def test_a_path_that_takes_no_get_says_nothing_about_post() -> None:
    def post_alone(exchange: Exchange) -> None:
        if exchange.request.method == "GET":
            exchange.reply(b"Method Not Allowed", "405 Method Not Allowed")
        else:
            fakes.no_series(exchange)

    async def look(upstream: UpstreamClient) -> None:
        with pytest.raises(NotServed):
            await upstream.forward(ApiRequest(Endpoint.METADATA))

    with FakeUpstream(post_alone) as fake:
        use(look, instant("up"), url=fake.url)

    assert methods(fake) == ["GET", "POST"]


@pytest.mark.usefixtures("http_library")
@pytest.mark.parametrize("lost", [fakes.reset_before_reply, fakes.close_before_reply, fakes.reset_mid_body])
@pytest.mark.parametrize("call", [QUERY, ApiRequest(Endpoint.METADATA, QUERY.parameters)], ids=["POST", "GET"])
def test_a_request_that_is_lost_is_sent_once_more_and_not_oftener(call: ApiRequest, lost: Behaviour) -> None:
    with FakeUpstream(in_turn(fakes.no_series, lost)) as fake, pytest.raises(ConnectionLost):
        use(forward(call), forward(call), url=fake.url)

    assert methods(fake) == [methods(fake)[0]] * 3


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
        (httpx.ConnectTimeout(""), Unreachable),
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
