"""Limits on queries that callers write themselves: how many run at once, how many series one returns."""

import asyncio

import orjson

from gatewayz_metrics.errors import LimitExceeded, TooBusy, TooManyPoints
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.client import UpstreamApi
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint
from gatewayz_metrics.upstream.response import SERIES_START


class QueryLimiter:
    """Forwards requests within MAX_CONCURRENT_QUERIES and MAX_SERIES.

    A request waits for a free place for PROMETHEUS_TIMEOUT seconds at most.
    """

    def __init__(self, source: UpstreamApi, settings: Settings) -> None:
        self._source = source
        self._slots = asyncio.Semaphore(settings.max_concurrent_queries)
        self._allowed = settings.max_concurrent_queries
        self._deadline = settings.prometheus_timeout
        self._max_series = settings.max_series

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """The envelope of a request. Raises TooBusy, LimitExceeded or what the upstream's client raises."""
        await self._acquire()
        try:
            response = await self._source.forward(call)
        finally:
            self._slots.release()
        if self._max_series and response.status == 200:
            self.check_series(_count_series(call.endpoint, response.body))
        return response

    def check_series(self, series: int) -> None:
        """Raise LimitExceeded for more series than MAX_SERIES, unless that is 0."""
        if self._max_series and series > self._max_series:
            raise LimitExceeded(f"The answer has {series:,} series", "MAX_SERIES", f"{self._max_series:,}")

    async def _acquire(self) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise TooBusy(self._allowed) from None


def check_range(span: TimeRange, settings: Settings) -> None:
    """Raise LimitExceeded or TooManyPoints for a range that is longer or finer than MAX_RANGE or MAX_POINTS allows."""
    seconds = span.length_ms / 1000
    if settings.max_range and seconds > settings.max_range:
        raise LimitExceeded(f"The range has {seconds:,g} seconds", "MAX_RANGE", f"{settings.max_range:,g}")
    if span.steps > settings.max_points:
        raise TooManyPoints(settings.max_points)


def _count_series(endpoint: Endpoint, body: bytes) -> int:
    """The number of series in a success envelope; 0 for endpoints whose result is not series."""
    if endpoint is Endpoint.SERIES:
        return len(orjson.loads(body).get("data") or ())
    return body.count(SERIES_START) if endpoint in (Endpoint.QUERY, Endpoint.QUERY_RANGE) else 0
