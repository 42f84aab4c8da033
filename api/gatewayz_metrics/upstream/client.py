"""The HTTP client of the upstream: pooled connections, a total deadline, errors as one tree.

The protocol: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from gatewayz_metrics.cooperative import run_cooperatively
from gatewayz_metrics.errors import (
    ConfigurationError,
    ConnectionLost,
    NotServed,
    QueryRefused,
    UpstreamError,
)
from gatewayz_metrics.memory import reserve_memory
from gatewayz_metrics.promql.build import batch
from gatewayz_metrics.promql.times import format_seconds
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.auth import UpstreamAuth
from gatewayz_metrics.upstream.breaker import CallerPauses
from gatewayz_metrics.upstream.clock import TrustedClock
from gatewayz_metrics.upstream.connections import UpstreamConnections
from gatewayz_metrics.upstream.deadline import Deadline, start_deadline
from gatewayz_metrics.upstream.failures import to_error, translate
from gatewayz_metrics.upstream.health import UpstreamHealth
from gatewayz_metrics.upstream.isolation import narrow
from gatewayz_metrics.upstream.places import FairPlaces, QueryKind
from gatewayz_metrics.upstream.principal import current_principal
from gatewayz_metrics.upstream.request import UNRESTRICTED, ApiRequest, ApiResponse, Endpoint, check_envelope
from gatewayz_metrics.upstream.response import Vector, parse_refusal, parse_vector, read_body
from gatewayz_metrics.watched_files import WatchedFiles

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# The cheapest question there is; whether it is answered tells an outage from queries that are too slow or too large.
# In the catalogue's form, so that it fails where the catalogue does.
PROBE = ApiRequest(Endpoint.QUERY, (("query", batch([("probe", "vector(1)")])),))
# Seconds that it may take.
_PROBE_SECONDS = 2.0
# How many times its text a decoded vector takes at most, measured: series of ten labels that share no value.
_DECODED = 4

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


class SupervisedUpstream(UpstreamApi, Protocol):
    """An upstream as the service needs it, beside what it asks."""

    # Secrets and certificates.
    watched_files: tuple[WatchedFiles, ...]

    async def check(self, patience: float) -> UpstreamError | None:
        """What is wrong with it as last known, after at most some seconds."""

    def watch(self) -> None:
        """Ask it from now on while nobody else does."""


class UpstreamClient:
    """The client of one Prometheus-compatible server.

    Raises QueryRefused when the server refuses a query and an UpstreamError when it gives no usable answer.
    """

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: TrustedClock | None = None) -> None:
        """The `clock` is told the Date of every answer."""
        self._settings = settings
        self._clock = clock or TrustedClock(telemetry)
        self._base = _check_url(settings.prometheus_url)
        self._host = urlsplit(self._base).netloc
        self._telemetry = telemetry
        self.health = UpstreamHealth(telemetry, self._ask_probe)
        self._pauses = CallerPauses(time.monotonic)
        self._places = FairPlaces.of(settings, telemetry)
        self._use_post = True
        self._credentials = UpstreamAuth(settings)
        self._connections = UpstreamConnections(settings)
        # Read at the start; whoever owns the client has them read again.
        self.watched_files: tuple[WatchedFiles, ...] = (self._credentials.file, self._connections.files)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.health.aclose()
        await self._connections.aclose()

    async def check(self, patience: float) -> UpstreamError | None:
        """What is wrong with the upstream as last known, after at most some seconds in which it may tell more."""
        return await self.health.check(patience)

    def watch(self) -> None:
        """Ask the upstream from now on while nobody else does."""
        self.health.watch()

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
        when the body is no envelope, and a RequestError when the request cannot be kept to its tenant's data.
        """
        caller = current_principal() if call.tenant == UNRESTRICTED else call.tenant
        # Here, where every request passes, so that no surface can forget it.
        narrowed = narrow(call, self._settings.max_query_length)

        async def fetch(deadline: Deadline) -> ApiResponse:
            return self._to_response(narrowed, *await self._fetch(narrowed, deadline), deadline)

        is_long = call.endpoint is Endpoint.QUERY_RANGE and not call.is_short
        return await self._observe(call, QueryKind.LONG if is_long else QueryKind.SHORT, caller, fetch)

    async def _observe(
        self, call: ApiRequest, kind: QueryKind, caller: Hashable, fetch: Callable[[Deadline], Awaitable[T]]
    ) -> T:
        """Run one request in a place of its own, for a caller who may have to pause."""
        deadline = start_deadline(call, self._settings)
        self.health.breaker.refuse_if_open()
        self._pauses.check(caller)
        async with self._places.hold(kind, deadline):
            self.health.breaker.check()
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
            self.health.record_success()
            raise
        except UpstreamError as exc:
            outcome = exc.code
            self.health.record_failure(exc)
            raise
        else:
            outcome = "ok"
            self.health.record_success()
            return result
        finally:
            self._telemetry.upstream_requests.labels(slug, outcome).inc()
            self._telemetry.upstream_seconds.labels(slug).observe(time.perf_counter() - started)

    async def _ask_probe(self) -> None:
        """Ask the cheapest question there is, and read its answer as strictly as the catalogue. Raises ServiceError."""
        seconds = min(_PROBE_SECONDS, self._settings.prometheus_timeout)
        deadline = Deadline(seconds, "PROMETHEUS_TIMEOUT", time.monotonic())
        body = self._require_success(*await self._fetch(PROBE, deadline), deadline)
        await run_cooperatively(parse_vector(body))

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
            async with self._connections.use() as client:
                request = (
                    client.build_request("POST", url, content=call.form(), headers=headers | _FORM)
                    if by_post
                    else client.build_request("GET", url, headers=headers)
                )
                response = await client.send(request, stream=True)
                self._clock.note_date(response.headers.get("date"))
                try:
                    return response.status_code, await self._read(response), response.headers
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
