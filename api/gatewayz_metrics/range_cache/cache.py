"""Range queries answered from kept points and as little of the upstream as possible.

A point of a range query depends on the expression, its own time and the data, not on where the range
begins or ends, as long as the expression has none of the features that `bypass_reason` looks for. So
points of one expression on one grid (step and phase) may be put together from several answers.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from gatewayz_metrics.bounded_store import BoundedStore
from gatewayz_metrics.cooperative import run_cooperatively
from gatewayz_metrics.errors import AnswerTooLarge, MemoryFull, QueryRefused, UpstreamError
from gatewayz_metrics.memory import borrow_memory, let_accounts_go
from gatewayz_metrics.promql.cacheability import CacheTraits
from gatewayz_metrics.promql.times import TimeRange, format_seconds
from gatewayz_metrics.range_cache.annotations import merge_notes
from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.matrix import (
    SERIES_BYTES,
    CachedSeries,
    Matrix,
    StepGrid,
    UnalignedPoints,
    parse_matrix,
    render_matrix,
)
from gatewayz_metrics.range_cache.outage import find_timeout, is_outage, render_kept
from gatewayz_metrics.range_cache.pieces import (
    DASHBOARD_PATIENCE,
    FetchedPiece,
    FetchedPieces,
    SlowQueries,
    plan_pieces,
)
from gatewayz_metrics.range_cache.plan import (
    Coverage,
    FetchPlan,
    Lifetime,
    bypass_reason,
    clip,
    plan_fetches,
    unexpired,
)
from gatewayz_metrics.range_cache.points import POINT_BYTES
from gatewayz_metrics.range_cache.range_query import CacheStatus, RangeAnswer, RangeQuery, RangeResult
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.clock import Moment, TrustedClock
from gatewayz_metrics.upstream.deadline import start_deadline
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.pieces import count_marks
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint, Pairs, Tenant
from gatewayz_metrics.upstream.response import SERIES_START
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

# One entry may take this share of the bytes: a single huge panel must not push everything else out.
_LARGEST_SHARE = 0.25
# Points up to which a range query costs about as much as an instant query: what a refresh asks for.
_SHORT_STEPS = 60
# Seconds for which points are believed that came with a warning about the query's own data.
_WARNED_SECONDS = 10.0
# Seconds for which a refusal is repeated, and the bytes of all of them.
_REFUSAL_SECONDS = 5.0
_REFUSAL_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What points must have in common to be put together."""

    query: str
    grid: StepGrid
    extra: Pairs
    tenant: Tenant

    @property
    def size(self) -> int:
        """The bytes that it takes, about."""
        return 500 + len(self.query) + sum(len(name) + len(value) for name, value in self.extra)

    @property
    def shift(self) -> float:
        """A number from 0 to 1 that is another for most other keys."""
        return crc32(f"{self.query} {self.grid.step_ms}".encode("utf-8", "surrogatepass")) / 2**32


@dataclass(frozen=True, slots=True)
class RangeLookup:
    """A query that may be answered from the cache, and what its points are kept under."""

    query: RangeQuery
    key: CacheKey
    traits: CacheTraits
    begun: Moment
    # How often everything had been forgotten by then.
    generation: int

    @property
    def window(self) -> tuple[int, int]:
        """The places of the grid that are wanted, both ends included."""
        return self.key.grid.index(self.query.range.start_ms), self.key.grid.index(self.query.range.end_ms)


@dataclass(frozen=True, slots=True)
class ReusableAnswer:
    """An answer, when (on the monotonic clock) it was asked for, and for how many seconds it may be repeated."""

    answer: RangeAnswer
    asked_at: float
    seconds: float
    # Bytes, about.
    weight: int


class RangeCache:
    """An exact cache of range queries; it belongs to the event loop in which it is made."""

    def __init__(self, gate: QueryLimiter, settings: Settings, telemetry: Telemetry, clock: TrustedClock) -> None:
        self._gate = gate
        self._settings = settings
        self._is_on = settings.cache_range
        self._lifetime = settings.cache_range_ttl
        self._freshness_ms = int(settings.cache_freshness * 1000)
        self._limit = settings.max_response_bytes
        self._always = settings.engine.range_parameters
        self._telemetry = telemetry
        self._observe = telemetry.of_cache("ranges")
        self._time = clock
        self._jumps = clock.jumps
        self._generation = 0
        self.store: BoundedStore[CacheEntry] = BoundedStore(
            settings.cache_range_bytes, _LARGEST_SHARE, telemetry.range_bytes.set
        )
        self._slow = SlowQueries(settings.prometheus_range_timeout)
        self._answers: SingleFlightCache[ReusableAnswer] = SingleFlightCache(
            lambda kept: kept.seconds, clock.monotonic, weigh=lambda kept: kept.weight, capacity=_REFUSAL_BYTES
        )
        self._pieces: SingleFlightCache[FetchedPiece] = SingleFlightCache(lambda _piece: 0.0, clock.monotonic)

    async def answer(self, query: RangeQuery) -> RangeAnswer:
        """The envelope of a range query, as the upstream would write it now."""
        begun = self._begin()
        if query.renew:
            for may_be_stale in (True, False):
                self._answers.discard(replace(query, renew=False, may_be_stale=may_be_stale).identity)

        async def produce() -> ReusableAnswer:
            answer = await self._answer(query, begun)
            may_repeat = self._is_on and not (query.bypass or query.renew) and answer.status in (400, 422)
            weight = 1000 + len(answer.body) + 2 * len(query.query) + 2 * sum(map(len, sum(query.extra, ())))
            return ReusableAnswer(answer, begun.monotonic, _REFUSAL_SECONDS if may_repeat else 0.0, weight)

        kept = await self._answers.get(query.identity, produce, renew=query.renew)
        found = kept.answer
        if kept.asked_at < begun.monotonic and kept.seconds:
            found = RangeAnswer(found.raw, CacheStatus("hit", "refused", age=begun.monotonic - kept.asked_at))
        self._observe(found.cache_status.result)
        if found.cache_status.reason and found.cache_status.result != "stale":
            self._telemetry.range_fetches.labels(found.cache_status.reason).inc()
        return found

    def purge(self) -> None:
        """Forget every point, as after deletions or a back-fill; what is under way is not kept either."""
        self._generation += 1
        self.store.clear()
        self._answers.clear()
        self._pieces.clear()

    def _begin(self) -> Moment:
        """The moment that it is; what was kept before our clock went back is forgotten."""
        begun = self._time.begin()
        if begun.jumps != self._jumps:
            self._jumps = begun.jumps
            self.purge()
        return begun

    async def _answer(self, query: RangeQuery, begun: Moment) -> RangeAnswer:
        if not self._is_on:
            return await self._past(query, "off")
        grid = StepGrid.of(query.range)
        key = CacheKey(query.query, grid, query.extra, query.tenant)
        entry = self.store.get(key) or CacheEntry()
        horizon_ms = self._horizon_ms(begun.time)
        if reason := bypass_reason(query, horizon_ms, entry.traits):
            return await self._past(query, reason)
        lookup = RangeLookup(query, key, entry.traits or query.parsed.traits, begun, self._generation)
        first, last = lookup.window
        if query.renew:
            return await self._missed(lookup, FetchPlan(((first, last),), (), "renewed"))
        known = clip(unexpired(entry.coverage, begun.monotonic), first, self._settled(lookup, begun.time))
        if query.range.steps >= self._slow.points_at_once(key):
            return await self._merge_with_cached(lookup, entry, plan_pieces(known, first, last))
        wanted = plan_fetches(known, first, last)
        if wanted.gaps and not wanted.kept:
            return await self._missed(lookup, wanted)
        return await self._merge_with_cached(lookup, entry, wanted)

    async def _past(self, query: RangeQuery, reason: str) -> RangeAnswer:
        raw = await self._gate.forward(self._whole(query))
        self._count(fetched=query.range.steps + 1)
        return RangeAnswer(raw, CacheStatus("bypass", reason, ((query.range.start_ms, query.range.last_ms),)))

    async def _missed(self, lookup: RangeLookup, wanted: FetchPlan) -> RangeAnswer:
        """Everything is asked for, and the answer goes on as it came."""
        query = lookup.query
        try:
            piece = await self._piece(lookup, wanted.gaps[0], self._whole(query), is_part=False)
        except UpstreamError as exc:
            if stale := await self._stale(lookup, exc):
                return stale
            raise
        if (timeout := find_timeout(piece.raw)) and (stale := await self._stale(lookup, timeout)):
            return stale
        self._count(fetched=wanted.gaps[0][1] - wanted.gaps[0][0] + 1)
        fetched = ((query.range.start_ms, query.range.last_ms),)
        return RangeAnswer(piece.raw, CacheStatus("miss", piece.reason or wanted.reason, fetched))

    async def _merge_with_cached(self, lookup: RangeLookup, entry: CacheEntry, wanted: FetchPlan) -> RangeAnswer:
        """What is known and what is missing, put together."""
        fetch = self._fetched_slowly if wanted.reason == "slow" else self._fetched
        fetched = await fetch(lookup, wanted.gaps)
        pieces, times = fetched.pieces, _times(lookup.key.grid, wanted.gaps)
        if fetched.error is not None:
            if stale := await self._stale(lookup, fetched.error, pieces):
                return stale
            raise fetched.error
        for piece in pieces:
            if (timeout := find_timeout(piece.raw)) and (stale := await self._stale(lookup, timeout, pieces)):
                return stale
            if not piece.raw.is_success:
                return RangeAnswer(piece.raw, CacheStatus("partial", "refused", times))
        found = [piece.matrix for piece in pieces if piece.matrix is not None and not piece.matrix.notes.is_partial]
        if len(found) < len(pieces):
            # Points that stand elsewhere make sense only together, and only a whole answer can say that it is partial.
            return await self._past(lookup.query, next(piece.reason for piece in pieces if piece.reason))
        self._begin()
        if lookup.generation != self._generation:
            return await self._past(lookup.query, "forgotten")
        first, last = lookup.window
        with borrow_memory(entry.size + sum([await _size_taken_apart(piece.raw.body) for piece in pieces])):
            body = await self._merged(entry, found, wanted, (first, last))
        # The pieces are in the body now.
        let_accounts_go()
        missing = sum(end - begin + 1 for begin, end in wanted.gaps)
        self._count(fetched=missing, cached=last - first + 1 - missing)
        age = self._age(wanted.kept)
        reason = next((piece.reason for piece in pieces if piece.reason), wanted.reason if pieces else "")
        result: RangeResult = "hit" if not pieces else "partial" if wanted.kept else "miss"
        return RangeAnswer(ApiResponse(200, body), CacheStatus(result, reason, times, age))

    async def _merged(
        self, entry: CacheEntry, found: Sequence[Matrix], wanted: FetchPlan, window: tuple[int, int]
    ) -> bytes:
        for piece in found:
            entry = replace(entry, series=await run_cooperatively(entry.overlaid(piece)))
        self._gate.check_series(sum(_is_in(series, window) for series in entry.series.values()))
        notes = merge_notes([*(kept.notes for kept in wanted.kept), *(piece.notes for piece in found)])
        body = await run_cooperatively(render_matrix(entry.series, *window, notes.warnings, notes.infos))
        if len(body) > self._limit:
            raise AnswerTooLarge(self._limit)
        return body

    async def _stale(
        self, lookup: RangeLookup, error: UpstreamError, pieces: Sequence[FetchedPiece] = ()
    ) -> RangeAnswer | None:
        """What is known although the upstream failed; None when nothing is, or when the error is the answer."""
        if not lookup.query.may_be_stale or not is_outage(error):
            return None
        # As it is by now, however old: what was read before an outage stays true in it.
        begun = self._begin()
        kept = (self.store.get(lookup.key) or CacheEntry()).until(self._settled(lookup, begun.time))
        entry = await run_cooperatively(kept)
        for piece in pieces:
            if piece.matrix is not None and piece.matrix.notes.is_complete:
                lifetime = Lifetime(self._lifetime, lookup.key.shift)
                entry = await run_cooperatively(entry.with_piece(piece.matrix, begun.monotonic, lifetime))
        self._gate.check_series(sum(_is_in(series, lookup.window) for series in entry.series.values()))
        body = await run_cooperatively(render_kept(entry, lookup.key.grid, lookup.window, error))
        if body is None:
            return None
        status = CacheStatus("stale", error.code, age=self._age(clip(entry.coverage, *lookup.window)))
        return RangeAnswer(ApiResponse(200, body, cacheable=False), status)

    def _age(self, kept: Coverage) -> float:
        now = self._time.monotonic()
        return max((now - extent.read_at for extent in kept), default=0.0)

    async def _fetched(self, lookup: RangeLookup, gaps: Sequence[tuple[int, int]]) -> FetchedPieces:
        """The pieces of all gaps; when one fails the others are still waited for, as they are true and stored."""
        found = await asyncio.gather(
            *(self._piece(lookup, gap, self._part(lookup, gap), is_part=True) for gap in gaps),
            return_exceptions=True,
        )
        pieces: list[FetchedPiece] = []
        failed: UpstreamError | None = None
        for piece in found:
            if isinstance(piece, UpstreamError):
                failed = failed or piece
            elif isinstance(piece, BaseException):
                raise piece
            else:
                pieces.append(piece)
        return FetchedPieces(pieces, failed)

    async def _fetched_slowly(self, lookup: RangeLookup, gaps: Sequence[tuple[int, int]]) -> FetchedPieces:
        deadline = start_deadline(self._whole(lookup.query), self._settings)
        if lookup.query.may_be_stale:
            # They get what came so far, and the rest when they refresh.
            deadline = deadline.no_longer_than(DASHBOARD_PATIENCE, "what dashboards wait for")

        async def ask(gap: tuple[int, int]) -> FetchedPiece:
            call = replace(self._part(lookup, gap), is_short=False, seconds=deadline.remaining)
            return await self._piece(lookup, gap, call, is_part=True)

        return await self._slow.fetch(lookup.key, gaps, ask, deadline)

    async def _piece(
        self, lookup: RangeLookup, gap: tuple[int, int], call: ApiRequest, *, is_part: bool
    ) -> FetchedPiece:
        """A stretch of the grid from the upstream, stored; a call under way for the same is shared.

        What is no part of a larger answer is not taken apart where it has no room.
        """
        key = lookup.key, gap, lookup.query.renew
        return await self._pieces.get(key, lambda: self._ask(lookup, gap, call, is_part=is_part))

    async def _ask(self, lookup: RangeLookup, gap: tuple[int, int], call: ApiRequest, *, is_part: bool) -> FetchedPiece:
        # Before the question: what arrives at the upstream while it answers may be in it or not.
        begun = self._begin()
        points = gap[1] - gap[0] + 1
        with self._slow.watch(lookup.key, points):
            raw = await self._gate.forward(call)
        if raw.status != 200:
            if find_timeout(raw):
                self._slow.timed_out(lookup.key, points)
            return FetchedPiece(raw, None, "refused")
        size = await _size_taken_apart(raw.body)
        newest = min(gap[1], self._settled(lookup, begun.time))
        settled = max(0, newest - gap[0] + 1) / points
        if not is_part and not self.store.has_room(int(settled * size)):
            # It goes on as it came, and is not taken apart for nothing.
            return FetchedPiece(raw, None, "too-large")
        try:
            with borrow_memory(size):
                return await self._take_apart(lookup, gap, raw, begun)
        except MemoryFull:
            if is_part:
                raise
            return FetchedPiece(raw, None, "memory")

    async def _take_apart(
        self, lookup: RangeLookup, gap: tuple[int, int], raw: ApiResponse, begun: Moment
    ) -> FetchedPiece:
        try:
            found = await run_cooperatively(parse_matrix(raw.body, lookup.key.grid, *gap))
        except UnalignedPoints:
            return FetchedPiece(raw, None, "off-grid")
        except QueryRefused:
            return FetchedPiece(raw, None, "refused")
        if not found.notes.is_repeatable or not raw.cacheable:
            return FetchedPiece(raw, found, "no-store" if not raw.cacheable else "incomplete")
        return FetchedPiece(raw, found, await self._keep(lookup, found, begun))

    async def _keep(self, lookup: RangeLookup, found: Matrix, begun: Moment) -> str:
        """Store the settled part of a piece in what is the entry by now; why nothing can be stored, or nothing."""
        certain = self._time.settle(begun)
        if certain is None or lookup.generation != self._generation:
            return "forgotten"
        horizon_ms, grid = self._horizon_ms(certain), lookup.key.grid
        if not lookup.traits.is_settled(horizon_ms):
            return "fixed-time"
        newest = min(found.last, grid.index(horizon_ms - lookup.traits.lookahead_ms))
        if newest < found.first:
            return ""
        settled = found
        if newest < found.last:
            settled = replace(found, last=newest, series=await run_cooperatively(found.until(newest)))
        lifetime = Lifetime(
            min(self._lifetime, _WARNED_SECONDS) if found.notes.warnings else self._lifetime, lookup.key.shift
        )
        while True:
            before = self.store.get(lookup.key)
            known = await run_cooperatively((before or CacheEntry()).pruned(self._time.monotonic()))
            added = replace(known, traits=lookup.traits).with_piece(settled, begun.monotonic, lifetime)
            entry = await run_cooperatively(added)
            # Other tasks ran in between: what they have forgotten stays so, and what they have stored is not lost.
            if self._time.settle(begun) is None or lookup.generation != self._generation:
                return "forgotten"
            if self.store.get(lookup.key) is before:
                return "" if self.store.put(lookup.key, entry, entry.size + lookup.key.size) else "too-large"

    def _whole(self, query: RangeQuery) -> ApiRequest:
        given = query.given or _range(query.range)
        return self._call(query, given, steps=query.range.steps)

    def _part(self, lookup: RangeLookup, gap: tuple[int, int]) -> ApiRequest:
        grid = lookup.key.grid
        begin, end = (grid.time_ms(place) for place in gap)
        span = TimeRange(begin, end, grid.step_ms)
        return self._call(lookup.query, _range(span), steps=span.steps)

    def _call(self, query: RangeQuery, span: Pairs, *, steps: int) -> ApiRequest:
        always = tuple(pair for pair in self._always if pair not in query.extra)
        pairs = (("query", query.query), *span, *query.extra, *always)
        is_short = steps <= _SHORT_STEPS
        return ApiRequest(Endpoint.QUERY_RANGE, pairs, tenant=query.tenant, text=query.read, is_short=is_short)

    def _settled(self, lookup: RangeLookup, moment: float) -> int:
        """The last place of a window that is settled: what the clocks have not reached (any more) is not."""
        place = lookup.key.grid.index(self._horizon_ms(moment) - lookup.traits.lookahead_ms)
        return min(lookup.window[1], place)

    def _horizon_ms(self, moment: float) -> int:
        """Up to when points stay as they are, at a Unix time that both clocks have reached."""
        return int(moment * 1000) - self._freshness_ms

    def _count(self, fetched: int = 0, cached: int = 0) -> None:
        self._telemetry.range_points.labels("fetched").inc(fetched)
        self._telemetry.range_points.labels("cached").inc(cached)


async def _size_taken_apart(body: bytes) -> int:
    """The bytes that an answer takes as columns, about: its text, each point and each series."""
    points, series = await count_marks(body, b"],["), await count_marks(body, SERIES_START)
    return len(body) + POINT_BYTES * points + SERIES_BYTES * series


def _range(span: TimeRange) -> Pairs:
    start, end = format_seconds(span.start_ms), format_seconds(span.end_ms)
    return (("start", start), ("end", end), ("step", f"{span.step_ms}ms"))


def _times(grid: StepGrid, gaps: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((grid.time_ms(begin), grid.time_ms(end)) for begin, end in gaps)


def _is_in(series: CachedSeries, window: tuple[int, int]) -> bool:
    return bool(series.values.between(*window) or series.histograms.between(*window))
