"""The way to the upstream for queries that people write: so many at once, answers so large."""

import asyncio

import orjson

from gatewayz_metrics.errors import LimitExceeded, TooBusy
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.client import UpstreamApi
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint

_SERIES_OF_A_QUERY = b'{"metric":{'


class QueryLimiter:
    """Forwards calls within MAX_CONCURRENT_QUERIES and MAX_SERIES."""

    def __init__(self, source: UpstreamApi, settings: Settings) -> None:
        self._source = source
        self._places = asyncio.Semaphore(settings.max_concurrent_queries)
        self._allowed = settings.max_concurrent_queries
        self._deadline = settings.prometheus_timeout
        self._max_series = settings.max_series

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """The envelope of a call. Raises TooBusy, LimitExceeded or what the upstream's client raises."""
        await self._enter()
        try:
            answer = await self._source.forward(call)
        finally:
            self._places.release()
        if self._max_series and answer.status == 200:
            self.check_series(_series(call.endpoint, answer.body))
        return answer

    def check_series(self, series: int) -> None:
        """Raise LimitExceeded when an answer has more series than allowed."""
        if self._max_series and series > self._max_series:
            raise LimitExceeded(f"The answer has {series:,} series", "MAX_SERIES", f"{self._max_series:,}")

    async def _enter(self) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await self._places.acquire()
        except TimeoutError:
            raise TooBusy(self._allowed) from None


def _series(endpoint: Endpoint, body: bytes) -> int:
    """How many series an answer has; inside a string the quotes of the pattern would be escaped."""
    if endpoint is Endpoint.SERIES:
        return len(orjson.loads(body).get("data") or ())
    return body.count(_SERIES_OF_A_QUERY) if endpoint in (Endpoint.QUERY, Endpoint.QUERY_RANGE) else 0
