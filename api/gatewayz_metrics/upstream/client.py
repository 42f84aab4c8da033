"""The client of the upstream: one pooled connection set, one deadline, one error tree."""

import asyncio
import logging
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

import httpx

from gatewayz_metrics.errors import (
    AccessRefused,
    AnswerTooLarge,
    BadAnswer,
    ConfigurationError,
    ConnectionLost,
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
from gatewayz_metrics.upstream.answer import Vector, refusal_in, vector
from gatewayz_metrics.upstream.body import read_body
from gatewayz_metrics.upstream.breaker import Breaker
from gatewayz_metrics.upstream.credentials import Credentials

log = logging.getLogger(__name__)

_KEEPALIVE_SECONDS = 15.0  # below what servers allow, so that few connections die in our hands


class Endpoint(StrEnum):
    """Every upstream path there is: no path is ever built from a request's text."""

    QUERY = "/api/v1/query"

    @property
    def kind(self) -> str:
        """The label that our own metrics carry."""
        return self.name.lower()


class Upstream:
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
        self._breaker = Breaker(time.monotonic)
        self._post = True
        self._outage_logged = False
        self._credentials = Credentials(settings)
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
        form = {"query": query} if time is None else {"query": query, "time": f"{time:.3f}"}
        found = await self._measured(Endpoint.QUERY, form)
        self._telemetry.warnings.inc(len(found.warnings))
        return found

    async def _measured(self, endpoint: Endpoint, form: dict[str, str]) -> Vector:
        """One question with its outcome told to the breaker and to our own metrics."""
        self._breaker.check()
        begun = time.perf_counter()
        outcome = "cancelled"
        try:
            answer = vector(await self._fetch(endpoint, form))
        except QueryRefused as exc:
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
            self._telemetry.upstream_requests.labels(endpoint.kind, outcome).inc()
            self._telemetry.upstream_seconds.labels(endpoint.kind).observe(time.perf_counter() - begun)

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

    async def _fetch(self, endpoint: Endpoint, form: dict[str, str]) -> bytes:
        """The body of a success. A connection that died while idle is replaced once."""
        try:
            async with asyncio.timeout(self._deadline):
                try:
                    return await self._send(endpoint, form)
                except ConnectionLost:
                    return await self._send(endpoint, form)
        except TimeoutError as exc:
            raise TimedOut(self._deadline) from exc

    async def _send(self, endpoint: Endpoint, form: dict[str, str]) -> bytes:
        """One request, by POST until the upstream says that it takes GET alone."""
        status, body, headers = await self._exchange(endpoint, form)
        if status == 405 and self._post:
            self._post = False
            status, body, headers = await self._exchange(endpoint, form)
        if status == 200:
            return body
        raise self._failure(status, body, headers)

    async def _exchange(self, endpoint: Endpoint, form: dict[str, str]) -> tuple[int, bytes, httpx.Headers]:
        url = self._base + endpoint
        authorization = self._credentials.headers()
        request = (
            self._client.build_request("POST", url, data=form, headers=authorization)
            if self._post
            else self._client.build_request("GET", url, params=form, headers=authorization)
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
            case httpx.ConnectError():
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
        refused = refusal_in(body)
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
