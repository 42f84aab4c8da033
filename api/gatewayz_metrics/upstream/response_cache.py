"""Whole answers, shared by equal calls and kept for as long as they stay true."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse
from gatewayz_metrics.upstream.response import AnswerNotes
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

_CAPACITY = 32 * 2**20
_MOST_ANSWERS = 4096
# A parse error stays one, and browsers ask twice: once by POST, once by GET.
_REFUSAL_SECONDS = 5.0

_OVERHEAD = 600


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """An answer, when it was asked for and when it came (on the monotonic clock), and for how long it may be reused."""

    raw: ApiResponse
    asked_at: float
    came_at: float
    seconds: float


class ResponseCache:
    """Answers of calls that are asked and kept as a whole."""

    def __init__(
        self, gate: QueryLimiter, telemetry: Telemetry, *, keeps: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._gate = gate
        self._observe = telemetry.of_cache("responses")
        self._keeps = keeps
        self._clock = clock
        self._shared: SingleFlightCache[CachedResponse] = SingleFlightCache(
            lambda kept: kept.seconds,
            clock,
            size=_MOST_ANSWERS,
            weigh=lambda kept: len(kept.raw.body) + _OVERHEAD,
            capacity=_CAPACITY,
        )

    async def get(self, call: ApiRequest, seconds: float) -> tuple[ApiResponse, float | None]:
        """The answer to a call and, when it was kept or shared, how many seconds ago it was asked for."""
        begun = self._clock()
        asked = False

        async def produce() -> CachedResponse:
            nonlocal asked
            asked = True
            asked_at = self._clock()
            raw = await self._gate.forward(call)
            return CachedResponse(raw, asked_at, self._clock(), self._lifetime(raw, seconds))

        kept = await self._shared.get((call, seconds > 0), produce)
        result = "miss" if asked else "coalesced" if kept.came_at > begun else "hit"
        self._observe(result)
        return kept.raw, None if asked else self._clock() - kept.asked_at

    def _lifetime(self, raw: ApiResponse, seconds: float) -> float:
        if not self._keeps:
            return 0.0
        if raw.status == 400:
            return _REFUSAL_SECONDS
        if seconds <= 0 or not raw.cacheable or not raw.is_success:
            return 0.0
        return seconds if is_complete(raw) else 0.0


def is_complete(raw: ApiResponse) -> bool:
    """Whether an answer is sound JSON without a sign that something is missing."""
    if raw.status == 204:
        return True
    try:
        document = orjson.loads(raw.body)
    except orjson.JSONDecodeError:
        return False
    is_success = isinstance(document, dict) and document.get("status") == "success"
    return is_success and AnswerNotes.of(document).is_complete
