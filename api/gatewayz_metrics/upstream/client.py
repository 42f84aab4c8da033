"""The HTTP client of the upstream: pooled connections, a total deadline, errors as one tree.

The protocol: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Hashable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from gatewayz_metrics.cooperative import run_cooperatively
from gatewayz_metrics.errors import (
    AnswerTooLarge,
    ConfigurationError,
    ConnectionLost,
    MemoryFull,
    Misconfigured,
    NotServed,
    QueryRefused,
    ServiceError,
    UpstreamError,
)
from gatewayz_metrics.logs import printable
from gatewayz_metrics.memory import reserve_memory
from gatewayz_metrics.promql.times import format_seconds
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.auth import UpstreamAuth
from gatewayz_metrics.upstream.breaker import CallerPauses, CircuitBreaker, may_be_outage
from gatewayz_metrics.upstream.deadline import Deadline, start_deadline
from gatewayz_metrics.upstream.failures import to_error, translate
from gatewayz_metrics.upstream.places import FairPlaces, QueryKind
from gatewayz_metrics.upstream.principal import current_principal
from gatewayz_metrics.upstream.request import UNRESTRICTED, ApiRequest, ApiResponse, Endpoint, check_envelope
from gatewayz_metrics.upstream.response import Vector, parse_refusal, parse_vector, read_body

log = logging.getLogger(__name__)

# Seconds; shorter than the idle timeouts that servers have, so that few requests meet a connection that just closed.
_KEEPALIVE_SECONDS = 15.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# The cheapest question there is; whether it is answered tells an outage from queries that are too slow or too large.
_PROBE = ApiRequest(Endpoint.QUERY, (("query", "vector(1)"),))
# How many times its text a decoded vector takes, measured: series of three labels.
_DECODED = 7
# Seconds that it may take.
_PROBE_SECONDS = 2.0

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
        self._settings = settings
        self._base = _check_url(settings.prometheus_url)
        self._host = urlsplit(self._base).netloc
        self._telemetry = telemetry
        self._breaker = CircuitBreaker(time.monotonic)
        self._pauses = CallerPauses(time.monotonic)
        self._places = FairPlaces.of(settings, telemetry)
        self._probe: asyncio.Task[None] | None = None
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
        if self._probe is not None:
            self._probe.cancel()
        await self._client.aclose()

    async def instant(self, query: str, time: float | None = None) -> Vector:
        """The vector that an expression has at a Unix time (seconds), or now: what the catalogue asks."""
        at = () if time is None else (("time", format_seconds(round(time * 1000))),)
        call = ApiRequest(Endpoint.QUERY, (("query", query), *at))

        async def fetch(deadline: Deadline) -> Vector:
            body = self._require_success(*await self._fetch(call, deadline), deadline)
            reserve_memory(_DECODED * len(body))
            return await run_cooperatively(parse_vector(body))

        # Everybody shares the answers, so no single caller is suspended for them.
        vector = await self._observe(call, QueryKind.CATALOGUE, "catalogue", fetch)
        self._telemetry.warnings.inc(len(vector.warnings))
        return vector

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """The envelope of a request as the upstream wrote it: a success, a refusal, or nothing (204).

        Raises NotServed when the upstream has no such path, TooBusy when others take the places, an UpstreamError
        when the body is no envelope.
        """
        caller = current_principal() if call.tenant == UNRESTRICTED else call.tenant

        async def fetch(deadline: Deadline) -> ApiResponse:
            return self._to_response(call, *await self._fetch(call, deadline), deadline)

        is_long = call.endpoint is Endpoint.QUERY_RANGE and not call.is_short
        return await self._observe(call, QueryKind.LONG if is_long else QueryKind.SHORT, caller, fetch)

    async def _observe(
        self, call: ApiRequest, kind: QueryKind, caller: Hashable, fetch: Callable[[Deadline], Awaitable[T]]
    ) -> T:
        """Run one request in a place of its own, for a caller who may have to pause."""
        deadline = start_deadline(call, self._settings)
        self._breaker.refuse_if_open()
        self._pauses.check(caller)
        async with self._places.hold(kind, deadline):
            self._breaker.check()
            try:
                found = await self._record(call.endpoint.slug, fetch(deadline))
            except UpstreamError as exc:
                self._pauses.failed(caller, exc)
                raise
            except (QueryRefused, NotServed):
                self._pauses.succeeded(caller)
                raise
        self._pauses.succeeded(caller)
        return found

    async def _record(self, slug: str, fetched: Awaitable[T]) -> T:
        """Await one request and report its outcome to the circuit breaker and to our own metrics."""
        started = time.perf_counter()
        # Stays so when the caller disconnects, which says nothing about the upstream.
        outcome = "cancelled"
        try:
            result = await fetched
        except (QueryRefused, NotServed) as exc:
            outcome = exc.code
            self._record_success()
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
            self._telemetry.upstream_requests.labels(slug, outcome).inc()
            self._telemetry.upstream_seconds.labels(slug).observe(time.perf_counter() - started)

    def _record_failure(self, error: UpstreamError) -> None:
        if isinstance(error, AnswerTooLarge | MemoryFull):
            # Not usable, but the upstream answers smaller queries, or fewer at once.
            self._close_circuit()
            return
        if not self._outage_logged:
            # Logged once per outage, not once per request; its end is logged, too.
            log.error("The upstream gives no usable answer: %s", printable(error.sentence))
            self._outage_logged = True
        if not may_be_outage(error):
            if not isinstance(error, Misconfigured):  # nothing was sent
                self._close_circuit()
        elif self._breaker.failed() and (self._probe is None or self._probe.done()):
            self._probe = asyncio.create_task(self._decide(error))

    def _record_success(self) -> None:
        if self._outage_logged:
            log.warning("The upstream answers again.")
            self._outage_logged = False
        self._breaker.succeeded()
        self._telemetry.upstream_up.set(1)
        self._telemetry.upstream_last_success.set_to_current_time()

    def _close_circuit(self) -> None:
        """The upstream answered, if not usably."""
        if self._breaker.is_open:
            self._telemetry.upstream_up.set(1)
        self._breaker.succeeded()

    async def _decide(self, error: UpstreamError) -> None:
        """Open the circuit because of an error, unless the upstream answers a question of our own."""
        seconds = min(_PROBE_SECONDS, self._settings.prometheus_timeout)
        deadline = Deadline(seconds, "PROMETHEUS_TIMEOUT", time.monotonic())
        outcome = "ok"
        try:
            self._to_response(_PROBE, *await self._fetch(_PROBE, deadline), deadline)
        except ServiceError as exc:
            outcome = exc.code
            if isinstance(exc, UpstreamError) and may_be_outage(exc):
                self._breaker.open(error)
                self._telemetry.upstream_up.set(0)
                return
        finally:
            self._telemetry.upstream_requests.labels("probe", outcome).inc()
        self._close_circuit()

    async def _fetch(self, call: ApiRequest, deadline: Deadline) -> HttpReply:
        """A complete reply within the deadline, which httpx itself does not have: its timeouts are per read."""
        try:
            # Not asyncio.timeout: after connecting, anyio 4.1 to 4.3 leaves the task's count of cancellations too high.
            with anyio.fail_after(max(0.0, deadline.remaining)):
                try:
                    return await self._send(call, deadline)
                except ConnectionLost:
                    # Most often an idle connection that the server closed just now. Once: queries change nothing,
                    # so sending one again is safe.
                    return await self._send(call, deadline)
        except TimeoutError as exc:
            raise deadline.exceeded() from exc

    async def _send(self, call: ApiRequest, deadline: Deadline) -> HttpReply:
        """One request, by POST, which long queries need, or by GET after a 405, as some upstreams take GET alone."""
        by_post = self._use_post and call.endpoint.takes_post
        reply = await self._exchange(call, deadline, by_post=by_post)
        if reply[0] == 405 and by_post:
            self._use_post = False
            reply = await self._exchange(call, deadline, by_post=False)
        return reply

    def _require_success(self, status: int, body: bytes, headers: httpx.Headers, deadline: Deadline) -> bytes:
        if status == 200:
            return body
        raise to_error(status, body, headers, deadline)

    def _to_response(
        self, call: ApiRequest, status: int, body: bytes, headers: httpx.Headers, deadline: Deadline
    ) -> ApiResponse:
        if status in (200, 204):
            no_store = "no-store" in headers.get("cache-control", "").lower()
            return check_envelope(ApiResponse(status, body, cacheable=not no_store and "set-cookie" not in headers))
        if status >= 400 and status not in (401, 403, 429) and parse_refusal(body):
            # Forwarded, as clients know the engine's errors. Not 401, 403 and 429: they concern our token and our rate.
            return ApiResponse(status, body, cacheable=False)
        # VictoriaMetrics answers 400 for a path that it does not know.
        if status in (404, 405) or (status == 400 and not call.endpoint.is_core):
            raise NotServed(call.endpoint, status)
        raise to_error(status, body, headers, deadline)

    async def _exchange(self, call: ApiRequest, deadline: Deadline, *, by_post: bool) -> HttpReply:
        url = self._base + call.endpoint.path(call.label) if by_post else call.url(self._base)
        headers = self._credentials.headers() | dict(call.tenant.headers)
        try:
            request = (
                self._client.build_request("POST", url, content=call.form(), headers=headers | _FORM)
                if by_post
                else self._client.build_request("GET", url, headers=headers)
            )
            response = await self._client.send(request, stream=True)
            try:
                return (
                    response.status_code,
                    await self._read(response),
                    response.headers,
                )
            finally:
                await response.aclose()
        except httpx.InvalidURL as exc:
            raise QueryRefused("bad_data", "it cannot be written as a URL") from exc
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError) as exc:
            raise translate(exc, self._host, deadline) from exc

    async def _read(self, response: httpx.Response) -> bytes:
        return await read_body(response, self._settings.max_response_bytes, unpacks=self._settings.prometheus_gzip)


def _check_url(url: str) -> str:
    """The URL. Raises ConfigurationError when httpx, which is stricter than the standard library, cannot use it."""
    try:
        # Names in other alphabets are only read when somebody asks for the host.
        _ = httpx.URL(url).host
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise ConfigurationError(f"PROMETHEUS_URL cannot be used: {str(exc).rstrip('.')}.") from exc
    return url


def _create_client(settings: Settings) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "gzip" if settings.prometheus_gzip else "identity",
            **{name: value.get_secret_value() for name, value in settings.prometheus_headers.items()},
        },
        # Each request has a deadline of its own.
        timeout=httpx.Timeout(None, connect=settings.prometheus_connect_timeout),
        limits=httpx.Limits(
            # One more for the question that decides about an outage: it must not wait behind those that hang.
            max_connections=settings.prometheus_connections + 1,
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
