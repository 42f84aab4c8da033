"""The HTTP client of the upstream: pooled connections, a total deadline, errors as one tree.

The protocol: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol, Self, TypeVar

from gatewayz_metrics.cooperative import run_cooperatively
from gatewayz_metrics.errors import ConnectionLost, NotServed, QueryRefused, UpstreamError
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
from gatewayz_metrics.upstream.failures import to_error
from gatewayz_metrics.upstream.health import UpstreamHealth
from gatewayz_metrics.upstream.isolation import narrow
from gatewayz_metrics.upstream.places import FairPlaces, QueryKind
from gatewayz_metrics.upstream.principal import current_principal
from gatewayz_metrics.upstream.request import UNRESTRICTED, ApiRequest, ApiResponse, Endpoint, check_envelope
from gatewayz_metrics.upstream.response import Vector, parse_refusal, parse_vector, read_body
from gatewayz_metrics.upstream.transport import ArrivingReply, HttpReply, HttpRequest
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
            body = _require_success(await self._fetch(call, deadline), deadline)
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
            return _to_response(narrowed, await self._fetch(narrowed, deadline), deadline)

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
        deadline = Deadline(_PROBE_SECONDS, "the check of the upstream", time.monotonic()).no_longer_than(
            self._settings.prometheus_timeout, "PROMETHEUS_TIMEOUT"
        )
        body = _require_success(await self._fetch(PROBE, deadline), deadline)
        await run_cooperatively(parse_vector(body))

    async def _fetch(self, call: ApiRequest, deadline: Deadline) -> HttpReply:
        """A complete reply within the deadline, connecting and sending it again included."""
        try:
            try:
                return await self._send(call, deadline)
            except ConnectionLost:
                # Most often an idle connection that the server closed just now. Once: queries change nothing, so
                # sending one again is safe.
                return await self._send(call, deadline)
        except TimeoutError as exc:
            raise deadline.exceeded() from exc

    async def _send(self, call: ApiRequest, deadline: Deadline) -> HttpReply:
        """One request, by POST, which long queries need, or by GET after a 405, as some upstreams take GET alone."""
        by_post = self._use_post and call.endpoint.takes_post
        reply = await self._exchange(call, deadline, by_post=by_post)
        if reply.status == 405 and by_post:
            self._use_post = False
            reply = await self._exchange(call, deadline, by_post=False)
        return reply

    async def _exchange(self, call: ApiRequest, deadline: Deadline, *, by_post: bool) -> HttpReply:
        headers = self._credentials.headers() | dict(call.tenant.headers)
        base = self._connections.url
        request = (
            HttpRequest(base + call.endpoint.path(call.label), headers | _FORM, call.form())
            if by_post
            else HttpRequest(call.url(base), headers)
        )
        return await self._connections.exchange(request, self._receive, deadline.remaining)

    async def _receive(self, reply: ArrivingReply) -> HttpReply:
        self._clock.note_date(reply.headers.get("date"))
        settings = self._settings
        body = await read_body(reply, settings.max_response_bytes, unpacks=settings.prometheus_gzip)
        return HttpReply(reply.status, reply.headers, body)


def _require_success(reply: HttpReply, deadline: Deadline) -> bytes:
    """The body of a reply that is a success. Raises QueryRefused or an UpstreamError."""
    if reply.status == 200:
        return reply.body
    raise to_error(reply, deadline)


def _to_response(call: ApiRequest, reply: HttpReply, deadline: Deadline) -> ApiResponse:
    """A reply as clients get it. Raises NotServed or an UpstreamError."""
    status = reply.status
    if status in (200, 204):
        no_store = "no-store" in reply.headers.get("cache-control", "").lower()
        cacheable = not no_store and "set-cookie" not in reply.headers
        return check_envelope(ApiResponse(status, reply.body, cacheable))
    if status >= 400 and status not in (401, 403, 429) and parse_refusal(reply.body):
        # Forwarded, as clients know the engine's errors. Not 401, 403 and 429: they concern our token and our rate.
        return ApiResponse(status, reply.body, cacheable=False)
    # VictoriaMetrics answers 400 for a path that it does not know.
    if status in (404, 405) or (status == 400 and not call.endpoint.is_core):
        raise NotServed(call.endpoint, status)
    raise to_error(reply, deadline)
