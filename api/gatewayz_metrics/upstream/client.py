"""The HTTP client of the upstream: pooled connections, a total deadline, errors as one tree.

The protocol: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from gatewayz_metrics.errors import (
    AccessRefused,
    AnswerTooLarge,
    BadAnswer,
    ConfigurationError,
    ConnectionLost,
    Misconfigured,
    NotServed,
    PoolExhausted,
    QueryRefused,
    RateLimited,
    Redirected,
    TimedOut,
    TlsFailed,
    Unreachable,
    UpstreamError,
    UpstreamFailed,
)
from gatewayz_metrics.promql.times import format_seconds
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.auth import UpstreamAuth
from gatewayz_metrics.upstream.breaker import CircuitBreaker
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint, check_envelope
from gatewayz_metrics.upstream.response import Vector, parse_refusal, parse_vector, read_body

log = logging.getLogger(__name__)

# Seconds; shorter than the idle timeouts that servers have, so that few requests meet a connection that just closed.
_KEEPALIVE_SECONDS = 15.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

T = TypeVar("T")
HttpReply = tuple[int, bytes, httpx.Headers]


class InstantQueries(Protocol):
    """An upstream as the query layer needs it."""

    async def instant(self, query: str, time: float | None = None) -> Vector:
        """The vector of an expression at a Unix time in seconds, or now."""


class UpstreamApi(InstantQueries, Protocol):
    """An upstream as the Prometheus API and the JSON datasource need it."""

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """The envelope of a request, unchanged."""

    async def aclose(self) -> None:
        """Close every connection."""


class UpstreamClient:
    """The client of one Prometheus-compatible server.

    Raises QueryRefused when the server refuses a query and an UpstreamError when it gives no usable answer.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._base = _check_url(settings.prometheus_url)
        self._host = urlsplit(self._base).netloc
        self._deadline = settings.prometheus_timeout
        self._limit = settings.max_response_bytes
        self._telemetry = telemetry
        self._breaker = CircuitBreaker(time.monotonic)
        self._use_post = True
        self._outage_logged = False
        self._credentials = UpstreamAuth(settings)
        self._client = _create_client(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def instant(self, query: str, time: float | None = None) -> Vector:
        """The vector that an expression has at a Unix time (seconds), or now."""
        at = () if time is None else (("time", format_seconds(round(time * 1000))),)
        call = ApiRequest(Endpoint.QUERY, (("query", query), *at))

        async def fetch() -> Vector:
            return parse_vector(self._require_success(*await self._fetch(call)))

        vector = await self._observe(Endpoint.QUERY, fetch)
        self._telemetry.warnings.inc(len(vector.warnings))
        return vector

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """The envelope of a request as the upstream wrote it: a success, a refusal, or nothing (204).

        Raises NotServed when the upstream has no such path, an UpstreamError when the body is no envelope.
        """

        async def fetch() -> ApiResponse:
            return self._to_response(call, *await self._fetch(call))

        return await self._observe(call.endpoint, fetch)

    async def _observe(self, endpoint: Endpoint, fetch: Callable[[], Awaitable[T]]) -> T:
        """Run one request and report its outcome to the circuit breaker and to our own metrics."""
        self._breaker.check()
        started = time.perf_counter()
        # Stays so when the caller disconnects, which says nothing about the upstream.
        outcome = "cancelled"
        try:
            result = await fetch()
        except (QueryRefused, NotServed) as exc:
            outcome = exc.code
            self._record_success()
            raise
        except AnswerTooLarge as exc:
            # Not usable, but no failure for the circuit breaker: the upstream answers smaller queries.
            outcome = exc.code
            self._breaker.succeeded()
            self._telemetry.upstream_up.set(0)
            raise
        except UpstreamError as exc:
            outcome = exc.code
            self._record_failure(exc)
            raise
        else:
            outcome = "ok"
            self._record_success()
            return result
        finally:
            self._telemetry.upstream_requests.labels(endpoint.slug, outcome).inc()
            self._telemetry.upstream_seconds.labels(endpoint.slug).observe(time.perf_counter() - started)

    def _record_failure(self, error: UpstreamError) -> None:
        self._breaker.failed(error)
        self._telemetry.upstream_up.set(0)
        if not self._outage_logged:
            # Logged once per outage, not once per request; its end is logged, too.
            log.error("The upstream gives no usable answer: %s", error.sentence)
            self._outage_logged = True

    def _record_success(self) -> None:
        if self._outage_logged:
            log.warning("The upstream answers again.")
            self._outage_logged = False
        self._breaker.succeeded()
        self._telemetry.upstream_up.set(1)
        self._telemetry.upstream_last_success.set_to_current_time()

    async def _fetch(self, call: ApiRequest) -> HttpReply:
        """A complete reply within the deadline, which httpx itself does not have: its timeouts are per read."""
        try:
            # Not asyncio.timeout: after connecting, anyio 4.1 to 4.3 leaves the task's count of cancellations too high.
            with anyio.fail_after(self._deadline):
                try:
                    return await self._send(call)
                except ConnectionLost:
                    # Most often an idle connection that the server closed just now. Once: queries change nothing,
                    # so sending one again is safe.
                    return await self._send(call)
        except TimeoutError as exc:
            raise TimedOut(self._deadline) from exc

    async def _send(self, call: ApiRequest) -> HttpReply:
        """One request, by POST, which long queries need, or by GET after a 405, as some upstreams take GET alone."""
        by_post = self._use_post and call.endpoint.takes_post
        reply = await self._exchange(call, by_post=by_post)
        if reply[0] == 405 and by_post:
            self._use_post = False
            reply = await self._exchange(call, by_post=False)
        return reply

    def _require_success(self, status: int, body: bytes, headers: httpx.Headers) -> bytes:
        if status == 200:
            return body
        raise self._to_error(status, body, headers)

    def _to_response(self, call: ApiRequest, status: int, body: bytes, headers: httpx.Headers) -> ApiResponse:
        if status in (200, 204):
            no_store = "no-store" in headers.get("cache-control", "").lower()
            return check_envelope(ApiResponse(status, body, cacheable=not no_store and "set-cookie" not in headers))
        if status >= 400 and status not in (401, 403, 429) and parse_refusal(body):
            # Forwarded, as clients know the engine's errors. Not 401, 403 and 429: they concern our token and our rate.
            return ApiResponse(status, body, cacheable=False)
        # VictoriaMetrics answers 400 for a path that it does not know.
        if status in (404, 405) or (status == 400 and not call.endpoint.is_core):
            raise NotServed(call.endpoint, status)
        raise self._to_error(status, body, headers)

    async def _exchange(self, call: ApiRequest, *, by_post: bool) -> HttpReply:
        url, form = self._base + call.endpoint.path(call.label), call.form()
        headers = self._credentials.headers() | dict(call.tenant.headers)
        request = (
            self._client.build_request("POST", url, content=form, headers=headers | _FORM)
            if by_post
            else self._client.build_request("GET", f"{url}?{form.decode()}" if form else url, headers=headers)
        )
        try:
            response = await self._client.send(request, stream=True)
            try:
                return response.status_code, await read_body(response, self._limit), response.headers
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as exc:
            raise self._translate(exc) from exc

    def _translate(self, exc: Exception) -> UpstreamError:
        """The error of our tree for an error of httpx."""
        match exc:
            case httpx.PoolTimeout():
                return PoolExhausted()
            case httpx.TimeoutException():
                return TimedOut(self._deadline)
            case httpx.ConnectError() | ssl.SSLError():  # httpcore before 0.18 lets the latter through
                return TlsFailed(self._host) if _is_tls(exc) else Unreachable(self._host)
            case httpx.NetworkError() | httpx.RemoteProtocolError():
                return ConnectionLost(self._host)
            case httpx.DecodingError():
                return BadAnswer("broken compression")
            case _:
                return Unreachable(self._host)

    def _to_error(self, status: int, body: bytes, headers: httpx.Headers) -> QueryRefused | UpstreamError:
        """The error for a status other than 200."""
        if 300 <= status < 400:
            return Redirected(status)
        if status in (401, 403):
            return AccessRefused(status)
        if status == 429:
            return RateLimited(_parse_retry_after(headers.get("retry-after")))
        refused = parse_refusal(body)
        if refused is not None and refused.error_type == "timeout":
            return TimedOut(self._deadline)
        if refused is not None and status in (400, 422):
            return refused
        return UpstreamFailed(status)


class MisconfiguredUpstream:
    """Takes the place of an upstream whose settings cannot work; every request raises Misconfigured.

    It exists because wrong settings of ours must not stop a host application: the routes report them instead.
    """

    def __init__(self, cause: ConfigurationError) -> None:
        self._sentence = cause.sentence

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002
        """Raise Misconfigured with the sentence with which a stand-alone start stops."""
        raise Misconfigured(self._sentence)

    async def forward(self, call: ApiRequest) -> ApiResponse:  # noqa: ARG002
        """Raise Misconfigured, too."""
        raise Misconfigured(self._sentence)

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""


def _check_url(url: str) -> str:
    """The URL. Raises ConfigurationError when httpx, which is stricter than the standard library, cannot use it."""
    try:
        httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"PROMETHEUS_URL cannot be used: {str(exc).rstrip('.')}.") from exc
    return url


def _create_client(settings: Settings) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "gzip" if settings.prometheus_gzip else "identity",
            **{name: value.get_secret_value() for name, value in settings.prometheus_headers.items()},
        },
        timeout=httpx.Timeout(settings.prometheus_timeout, connect=settings.prometheus_connect_timeout),
        limits=httpx.Limits(
            max_connections=settings.prometheus_connections,
            max_keepalive_connections=settings.prometheus_connections,
            keepalive_expiry=_KEEPALIVE_SECONDS,
        ),
        verify=ssl.create_default_context(cafile=ca_file) if (ca_file := settings.prometheus_ca_file) else True,
        # The client serves all callers: a cookie that came with one caller's answer must not travel with another's.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        # A proxy named by the environment would see every query and every credential.
        trust_env=False,
        # A redirect could send queries and credentials to any host.
        follow_redirects=False,
    )


def _is_tls(exc: BaseException | None) -> bool:
    """Whether a TLS error is among the causes; httpx raises the same ConnectError for all of them."""
    while exc is not None:
        if isinstance(exc, ssl.SSLError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _parse_retry_after(retry_after: str | None) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None when it is absent or malformed."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:6])  # over eleven days; the circuit breaker cuts it anyway
    try:
        until = parsedate_to_datetime(retry_after)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
