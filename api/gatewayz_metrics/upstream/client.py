"""The client of the upstream: one pooled connection set, one deadline, one error tree."""

import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
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
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.auth import UpstreamAuth
from gatewayz_metrics.upstream.breaker import CircuitBreaker
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint, check_envelope
from gatewayz_metrics.upstream.response import Vector, parse_refusal, parse_vector, read_body

# DOC What the rooms above need of an upstream.


class InstantQueries(Protocol):
    """Something that answers instant queries."""

    async def instant(self, query: str, time: float | None = None) -> Vector:
        """The vector of an expression at a Unix time (seconds), or now."""


class UpstreamApi(InstantQueries, Protocol):
    """Something that answers for a Prometheus-compatible server."""

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """The envelope of a call, as it is."""

    async def aclose(self) -> None:
        """Let go of every connection."""


class MisconfiguredUpstream:
    """Stands in for an upstream whose settings cannot work, and says so to whoever asks.

    A host application must not die of our settings; its routes explain themselves instead.
    """

    def __init__(self, cause: ConfigurationError) -> None:
        self._sentence = cause.sentence

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002
        """Raise Misconfigured with the sentence that a stand-alone start would have stopped with."""
        raise Misconfigured(self._sentence)

    async def forward(self, call: ApiRequest) -> ApiResponse:  # noqa: ARG002
        """Raise Misconfigured, too."""
        raise Misconfigured(self._sentence)

    async def aclose(self) -> None:
        """Nothing is open."""


log = logging.getLogger(__name__)

_KEEPALIVE_SECONDS = 15.0  # below what servers allow, so that few connections die in our hands
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

T = TypeVar("T")
HttpReply = tuple[int, bytes, httpx.Headers]


class UpstreamClient:
    """A Prometheus-compatible server that answers instant queries.

    `transport` replaces the network in tests. Raises QueryRefused when the upstream
    understood and said no, some UpstreamError when it gave no usable answer.
    """

    def __init__(
        self, settings: Settings, telemetry: Telemetry, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._base = _base(settings.prometheus_url)
        self._host = urlsplit(self._base).netloc
        self._deadline = settings.prometheus_timeout
        self._limit = settings.max_response_bytes
        self._telemetry = telemetry
        self._breaker = CircuitBreaker(time.monotonic)
        self._post = True
        self._outage_logged = False
        self._credentials = UpstreamAuth(settings)
        self._client = _client(settings, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def instant(self, query: str, time: float | None = None) -> Vector:
        """The vector that an expression has at a Unix time (seconds), or now."""
        at = () if time is None else (("time", f"{time:.3f}"),)
        call = ApiRequest(Endpoint.QUERY, (("query", query), *at))

        async def ask() -> Vector:
            return parse_vector(self._success(*await self._fetch(call)))

        found = await self._measured(Endpoint.QUERY, ask)
        self._telemetry.warnings.inc(len(found.warnings))
        return found

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """The envelope of any call as the upstream wrote it: a success, a refusal, or nothing (204).

        Raises an UpstreamError when it is no envelope, NotServed when the upstream has no such path.
        """

        async def ask() -> ApiResponse:
            return self._envelope(call, *await self._fetch(call))

        return await self._measured(call.endpoint, ask)

    async def _measured(self, endpoint: Endpoint, ask: Callable[[], Awaitable[T]]) -> T:
        """One question with its outcome told to the breaker and to our own metrics."""
        self._breaker.check()
        begun = time.perf_counter()
        outcome = "cancelled"
        try:
            answer = await ask()
        except (QueryRefused, NotServed) as exc:
            outcome = exc.code
            self._works()
            raise
        except AnswerTooLarge as exc:
            # Not usable, but no outage: the same upstream answers smaller questions.
            outcome = exc.code
            self._breaker.succeeded()
            self._telemetry.upstream_up.set(0)
            raise
        except UpstreamError as exc:
            outcome = exc.code
            self._fails(exc)
            raise
        else:
            outcome = "ok"
            self._works()
            return answer
        finally:
            self._telemetry.upstream_requests.labels(endpoint.slug, outcome).inc()
            self._telemetry.upstream_seconds.labels(endpoint.slug).observe(time.perf_counter() - begun)

    def _fails(self, error: UpstreamError) -> None:
        self._breaker.failed(error)
        self._telemetry.upstream_up.set(0)
        if not self._outage_logged:
            # Once per outage: every caller meets it, the log needs its begin and its end.
            log.error("The upstream gives no usable answer: %s", error.sentence)
            self._outage_logged = True

    def _works(self) -> None:
        if self._outage_logged:
            log.warning("The upstream answers again.")
            self._outage_logged = False
        self._breaker.succeeded()
        self._telemetry.upstream_up.set(1)
        self._telemetry.upstream_last_success.set_to_current_time()

    async def _fetch(self, call: ApiRequest) -> HttpReply:
        """A whole reply in time. A connection that died while idle is replaced once."""
        try:
            # Not asyncio.timeout: after connecting, anyio 4.1 to 4.3 leaves the task's count of cancellations too high.
            with anyio.fail_after(self._deadline):
                try:
                    return await self._send(call)
                except ConnectionLost:
                    return await self._send(call)
        except TimeoutError as exc:
            raise TimedOut(self._deadline) from exc

    async def _send(self, call: ApiRequest) -> HttpReply:
        """One request, by POST until the upstream says that it takes GET alone."""
        by_post = self._post and call.endpoint.takes_post
        reply = await self._exchange(call, by_post=by_post)
        if reply[0] == 405 and by_post:
            self._post = False
            reply = await self._exchange(call, by_post=False)
        return reply

    def _success(self, status: int, body: bytes, headers: httpx.Headers) -> bytes:
        if status == 200:
            return body
        raise self._failure(status, body, headers)

    def _envelope(self, call: ApiRequest, status: int, body: bytes, headers: httpx.Headers) -> ApiResponse:
        if status in (200, 204):
            no_store = "no-store" in headers.get("cache-control", "").lower()
            return check_envelope(ApiResponse(status, body, cacheable=not no_store and "set-cookie" not in headers))
        if status >= 400 and status not in (401, 403, 429) and parse_refusal(body):
            # The engine's own words, for the client that speaks its protocol.
            return ApiResponse(status, body, cacheable=False)
        if status in (404, 405) or (status == 400 and not call.endpoint.is_core):
            raise NotServed(call.endpoint, status)
        raise self._failure(status, body, headers)

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
            raise self._translated(exc) from exc

    def _translated(self, exc: Exception) -> UpstreamError:
        """A transport error in the words of our tree."""
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

    def _failure(self, status: int, body: bytes, headers: httpx.Headers) -> QueryRefused | UpstreamError:
        """What a status other than 200 means."""
        if 300 <= status < 400:
            return Redirected(status)
        if status in (401, 403):
            return AccessRefused(status)
        if status == 429:
            return RateLimited(_pause(headers.get("retry-after")))
        refused = parse_refusal(body)
        if refused is not None and refused.error_type == "timeout":
            return TimedOut(self._deadline)
        if refused is not None and status in (400, 422):
            return refused
        return UpstreamFailed(status)


def _base(url: str) -> str:
    """The URL, if httpx can use it: it is stricter than the standard library."""
    try:
        httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"PROMETHEUS_URL cannot be used: {str(exc).rstrip('.')}.") from exc
    return url


def _client(settings: Settings, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
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
        # A proxy from the environment would see every query and every credential.
        trust_env=False,
        follow_redirects=False,
    )


def _is_tls(exc: BaseException | None) -> bool:
    """Whether a TLS error is among the causes; httpx itself says only "connection failed"."""
    while exc is not None:
        if isinstance(exc, ssl.SSLError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _pause(retry_after: str | None) -> float | None:
    """A Retry-After header (RFC 9110, 10.2.3) in seconds."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:6])
    try:
        until = parsedate_to_datetime(retry_after)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
