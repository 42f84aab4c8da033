"""A limit on what callers' own queries return: how many series one answer has."""

from dataclasses import replace

import orjson

from gatewayz_metrics.cooperative import yield_periodically
from gatewayz_metrics.errors import LimitExceeded
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.client import UpstreamApi
from gatewayz_metrics.upstream.pieces import AnswerPieces, count_marks
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint
from gatewayz_metrics.upstream.response import SERIES_START


class QueryLimiter:
    """Forwards requests whose answers keep within MAX_SERIES."""

    def __init__(self, source: UpstreamApi, settings: Settings) -> None:
        self._source = source
        self._max_series = settings.max_series

    async def forward(self, call: ApiRequest) -> ApiResponse:
        """The envelope of a request. Raises LimitExceeded or what the upstream's client raises."""
        response = await self._source.forward(call)
        if not self._max_series or response.status != 200:
            return response
        series = await _count_series(call.endpoint, response.body)
        self.check_series(series)
        return replace(response, series=series)

    def check_series(self, series: int) -> None:
        """Raise LimitExceeded for more series than MAX_SERIES, unless that is 0."""
        if self._max_series and series > self._max_series:
            raise LimitExceeded(f"The answer has {series:,} series", "MAX_SERIES", f"{self._max_series:,}")


async def _count_series(endpoint: Endpoint, body: bytes) -> int:
    """The number of series in a success envelope; 0 for endpoints whose result is not series."""
    if endpoint is Endpoint.SERIES:
        pause = yield_periodically()
        pieces = AnswerPieces(body)
        count = 0
        for labels in pieces:
            count += len(labels)
            await pause()
        return count + len(orjson.loads(pieces.envelope).get("data") or ())
    return await count_marks(body, SERIES_START) if endpoint in (Endpoint.QUERY, Endpoint.QUERY_RANGE) else 0
