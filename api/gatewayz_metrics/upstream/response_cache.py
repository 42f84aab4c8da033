"""Whole answers, shared by equal requests and kept for as long as they stay true, whichever surface asks."""

import re
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass

from gatewayz_metrics.cooperative import yield_periodically
from gatewayz_metrics.errors import AnswerTooLarge, LimitExceeded
from gatewayz_metrics.lease import Lease
from gatewayz_metrics.memory import borrow_memory
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.times import parse_time, parse_whole_ms
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.clock import FollowedClock, Moment, TrustedClock
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.pieces import AnswerPieces
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint
from gatewayz_metrics.upstream.response import AnswerNotes, decode_object
from gatewayz_metrics.upstream.shared_times import lower_instant, widen_window
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

# Seconds for which a whole answer is reused. Instant queries are judged one by one, and range queries have a
# cache of their own.
_SECONDS = {
    Endpoint.QUERY_EXEMPLARS: 10.0,
    Endpoint.LABELS: 30.0,
    Endpoint.LABEL_VALUES: 30.0,
    Endpoint.SERIES: 30.0,
    Endpoint.METADATA: 300.0,
    Endpoint.RULES: 5.0,
    Endpoint.ALERTS: 5.0,
    Endpoint.BUILDINFO: 300.0,
    Endpoint.FORMAT_QUERY: 3600.0,
    Endpoint.PARSE_QUERY: 3600.0,
}
# An instant query that reads no series, and one whose time is so old that nothing it reads may still change.
_PLAIN_SECONDS = 10.0
_SETTLED_SECONDS = 300.0
# A parse error stays one, and browsers ask twice: once by POST, once by GET.
_REFUSAL_SECONDS = 5.0

# How many times its text takes what is decoded at once, measured: label sets.
_DECODED = 18
_CAPACITY = 32 * 2**20
_MOST_ANSWERS = 4096
_OVERHEAD = 600

# In what reads no series they stand in strings alone, and such a query is asked again.
_READS_SERIES = re.compile(r"[{\[]")
_TIMES = frozenset(["start", "end", "time"])


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """An answer, when it was asked for and when it came (on the monotonic clock), and for how long it may be reused."""

    raw: ApiResponse
    asked_at: float
    came_at: float
    seconds: float
    # Bytes, those of the request among them, as it is the key.
    weight: int
    # False where the answer says that something is missing.
    is_whole: bool | None


@dataclass(frozen=True, slots=True)
class _Terms:
    """On what terms a caller takes an answer: see `ResponseCache.get`."""

    query: QueryText | None
    fresh: bool
    renew: bool
    exact: bool


class ResponseCache:
    """Answers of requests that are asked and kept as a whole."""

    def __init__(
        self,
        gate: QueryLimiter,
        settings: Settings,
        telemetry: Telemetry,
        clock: TrustedClock,
    ) -> None:
        self._gate = gate
        self._observe = telemetry.of_cache("responses")
        self._keeps = settings.cache_ttl > 0
        self._freshness = settings.cache_freshness
        self._instant_seconds = settings.instant_granularity
        self._time = clock
        self._followed = FollowedClock(clock, self.purge)
        self._clock = clock.monotonic
        self._shared: SingleFlightCache[CachedResponse] = SingleFlightCache(
            lambda kept: kept.seconds,
            clock.monotonic,
            size=_MOST_ANSWERS,
            weigh=lambda kept: kept.weight,
            capacity=_CAPACITY,
        )

    async def get(
        self,
        request: ApiRequest,
        *,
        query: QueryText | None = None,
        fresh: bool = False,
        renew: bool = False,
        exact: bool = False,
    ) -> tuple[ApiResponse, float | None]:
        """The answer to a request and, when it was kept or shared, how many seconds ago it was asked for.

        `query` is the request's own as the caller has it, where it may have been read already. A `fresh`
        request gets no answer that was kept, and leaves none; one that is to `renew` leaves its own. Requests are
        moved to times that callers share, except for `fresh` ones, and for instant queries that are to be `exact`.
        """
        self._followed.begin()
        terms = _Terms(query, fresh, renew, exact=fresh or (exact and self._instant_seconds > 0))
        kept, age = await self._ask_at_shared_times(request, terms)
        return kept.raw, age

    async def _ask_at_shared_times(self, request: ApiRequest, terms: _Terms) -> tuple[CachedResponse, float | None]:
        if terms.fresh or not self._keeps:
            return await self._ask(request, terms)
        if request.endpoint is Endpoint.QUERY:
            return await self._ask(request if terms.exact else self._lower(request), terms)
        wide = widen_window(request)
        if wide is not request:
            # What the rest of a minute made too much may be enough without it.
            with suppress(LimitExceeded, AnswerTooLarge):
                kept, age = await self._ask(wide, terms)
                if not (kept.raw.status == 422 or (request.get("limit") and kept.is_whole is False)):
                    return kept, age
        return await self._ask(request, terms)

    def _lower(self, request: ApiRequest) -> ApiRequest:
        if not self._instant_seconds:
            return request
        horizon_ms = round((self._time.now() - self._freshness) * 1000)
        return lower_instant(request, round(self._instant_seconds * 1000), horizon_ms)

    async def _ask(self, request: ApiRequest, terms: _Terms) -> tuple[CachedResponse, float | None]:
        begun = self._clock()
        asked = False

        async def produce() -> CachedResponse:
            nonlocal asked
            asked = True
            moment = self._time.begin()
            asked_at = self._clock()
            raw = await self._gate.forward(request)
            # A query's answer may be large: it is only decoded where it might be kept.
            is_whole = None if request.endpoint.is_core or not raw.is_success else await is_complete(raw)
            # Only now, as reading a query costs more than finding its answer.
            seconds = 0.0 if is_whole is False else await self._lifetime(request, raw, terms, moment)
            weight = len(raw.body) + request.size + _OVERHEAD
            return CachedResponse(raw, asked_at, self._clock(), seconds, weight, is_whole)

        key = (_identify(request), terms.fresh, terms.exact)
        kept = await self._shared.get(key, produce, renew=terms.renew)
        result = "miss" if asked else "coalesced" if kept.came_at > begun else "hit"
        self._observe(result)
        return kept, None if asked else self._clock() - kept.asked_at

    def lease(self, request: ApiRequest, raw: ApiResponse) -> Lease | None:
        """The lease of an answer that `get` gave; None where it is not kept, or not for every caller."""
        if request.endpoint is Endpoint.QUERY and self._instant_seconds:
            # Rules have the moment that they ask for, and others the one that they share.
            return None
        for asked in (widen_window(request), request):
            key = _identify(asked), False, False
            kept, lease = self._shared.peek(key), self._shared.lease(key)
            if kept is not None and lease is not None and kept.raw is raw:
                return self._bound_to_clock(lease, kept.asked_at)
        return None

    def _bound_to_clock(self, lease: Lease, asked_at: float) -> Lease:
        def is_valid() -> bool:
            self._followed.begin()
            return lease.is_valid()

        return Lease(is_valid, lambda: self._observe("hit"), lambda: self._clock() - asked_at)

    def purge(self) -> None:
        """Forget every answer; what is under way is not kept either."""
        self._shared.clear()

    async def _lifetime(self, request: ApiRequest, raw: ApiResponse, terms: _Terms, asked: Moment) -> float:
        if not self._keeps:
            return 0.0
        if raw.status == 400:
            return _REFUSAL_SECONDS
        if terms.fresh or not raw.cacheable or not raw.is_success:
            return 0.0
        if request.endpoint is not Endpoint.QUERY:
            return _SECONDS.get(request.endpoint, 0.0)
        seconds = self._of_instant(request, terms.query, asked) or self._of_recent(request, terms)
        return seconds if seconds and await is_complete(raw) else 0.0

    def _of_instant(self, request: ApiRequest, query: QueryText | None, asked: Moment) -> float:
        """For how long the answer to an instant query stays what the upstream would say."""
        text = query or request.query
        at_ms = parse_time(request.get("time") or "")
        certain = self._time.settle(asked)
        horizon_ms = None if certain is None else int((certain - self._freshness) * 1000)
        is_past = at_ms is not None and horizon_ms is not None and at_ms <= horizon_ms
        if not is_past and _READS_SERIES.search(text.text):
            # To read it takes longer than all else that is done for it.
            return 0.0
        traits = text.parsed.traits
        if traits.is_plain:
            return _PLAIN_SECONDS
        if at_ms is None or horizon_ms is None or not (traits.cacheable and traits.is_settled(horizon_ms)):
            return 0.0
        return _SETTLED_SECONDS if at_ms + traits.lookahead_ms <= horizon_ms else 0.0

    def _of_recent(self, request: ApiRequest, terms: _Terms) -> float:
        """For how long an answer that may still change is wanted all the same: while others ask at the same time."""
        is_movable = parse_whole_ms(request.get("time") or "") is not None
        return self._instant_seconds if is_movable and not terms.exact else 0.0


def _identify(request: ApiRequest) -> Hashable:
    """What requests of one meaning have in common: the order of parameters and the spelling of times say nothing."""
    # Of a parameter that comes several times the order may count, so values of one name keep theirs.
    pairs = sorted(request.parameters, key=lambda pair: pair[0])
    meant = tuple((name, _instant(value) if name in _TIMES else value) for name, value in pairs)
    return request.endpoint, request.label, request.tenant, meant


def _instant(text: str) -> str | int:
    """A time in milliseconds; as written where it is none, or where a millisecond is too coarse for it."""
    ms = parse_whole_ms(text)
    return text if ms is None else ms


async def is_complete(raw: ApiResponse) -> bool:
    """Whether nothing in a success says that something is missing. Raises BadAnswer for what is no JSON."""
    if raw.status == 204:
        return True
    pause = yield_periodically()
    pieces = AnswerPieces(raw.body)
    for _ in pieces:
        await pause()
    with borrow_memory(_DECODED * len(pieces.envelope)):
        document = decode_object(pieces.envelope)
    return document.get("status") == "success" and AnswerNotes.of(document).is_complete
