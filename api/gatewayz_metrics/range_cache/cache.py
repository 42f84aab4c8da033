"""Range queries answered from kept points and as little of the upstream as possible.

A point of a range query depends on the expression, its own time and the data, not on where the range
begins or ends, as long as the expression has none of the features that `bypass_reason` looks for. So
points of one expression on one grid (step and phase) may be put together from several answers.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gatewayz_metrics.bounded_store import BoundedStore
from gatewayz_metrics.cooperative import run_cooperatively
from gatewayz_metrics.errors import AnswerTooLarge, QueryRefused, UpstreamError
from gatewayz_metrics.promql.cacheability import CacheTraits
from gatewayz_metrics.promql.times import TimeRange, format_seconds
from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.matrix import (
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
from gatewayz_metrics.range_cache.plan import Coverage, FetchPlan, bypass_reason, clip, plan_fetches, unexpired
from gatewayz_metrics.range_cache.range_query import CacheStatus, RangeAnswer, RangeQuery, RangeResult
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.deadline import start_deadline
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint, Pairs, Tenant
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

# Extents read within this share of their lifetime count as read together.
_SLACK = 1 / 8
# One entry may take this share of the bytes: a single huge panel must not push everything else out.
_LARGEST_SHARE = 0.25
# Points up to which a range query costs about as much as an instant query: what a refresh asks for.
_SHORT_STEPS = 60


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


@dataclass(frozen=True, slots=True)
class RangeLookup:
    """A query that may be answered from the cache, and what its points are kept under."""

    query: RangeQuery
    key: CacheKey
    traits: CacheTraits

    @property
    def window(self) -> tuple[int, int]:
        """The places of the grid that are wanted, both ends included."""
        return self.key.grid.index(self.query.range.start_ms), self.key.grid.index(self.query.range.end_ms)


class RangeCache:
    """An exact cache of range queries; it belongs to the event loop in which it is made."""

    def __init__(
        self,
        gate: QueryLimiter,
        settings: Settings,
        telemetry: Telemetry,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = gate
        self._settings = settings
        self._is_on = settings.cache_range
        self._lifetime = settings.cache_range_ttl
        self._freshness_ms = int(settings.cache_freshness * 1000)
        self._limit = settings.max_response_bytes
        self._always = settings.engine.range_parameters
        self._telemetry = telemetry
        self._observe = telemetry.of_cache("ranges")
        self._now = now
        self._clock = clock
        self.store: BoundedStore[CacheEntry] = BoundedStore(
            settings.cache_range_bytes, _LARGEST_SHARE, telemetry.range_bytes.set
        )
        self._slow = SlowQueries(settings.prometheus_range_timeout)
        self._answers: SingleFlightCache[RangeAnswer] = SingleFlightCache(lambda _answer: 0.0, clock)
        self._pieces: SingleFlightCache[FetchedPiece] = SingleFlightCache(lambda _piece: 0.0, clock)

    async def answer(self, query: RangeQuery) -> RangeAnswer:
        """The envelope of a range query, as the upstream would write it now."""
        found = await self._answers.get(query, lambda: self._answer(query))
        self._observe(found.cache_status.result)
        if found.cache_status.reason and found.cache_status.result != "stale":
            self._telemetry.range_fetches.labels(found.cache_status.reason).inc()
        return found

    def purge(self) -> None:
        """Forget every point, as after deletions or a back-fill."""
        self.store.clear()

    async def _answer(self, query: RangeQuery) -> RangeAnswer:
        if not self._is_on:
            return await self._past(query, "off")
        grid = StepGrid.of(query.range)
        key = CacheKey(query.query, grid, query.extra, query.tenant)
        entry = self.store.get(key) or CacheEntry()
        if reason := bypass_reason(query, self._horizon_ms(), entry.traits):
            return await self._past(query, reason)
        lookup = RangeLookup(query, key, entry.traits or query.parsed.traits)
        believed = unexpired(entry.coverage, self._clock() - self._lifetime)
        if query.range.steps >= self._slow.points_at_once(key):
            return await self._merge_with_cached(lookup, entry, plan_pieces(believed, *lookup.window))
        wanted = plan_fetches(believed, *lookup.window)
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
            piece = await self._piece(lookup, wanted.gaps[0], self._whole(query))
        except UpstreamError as exc:
            if stale := self._stale(lookup, exc):
                return stale
            raise
        if (timeout := find_timeout(piece.raw)) and (stale := self._stale(lookup, timeout)):
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
            if stale := self._stale(lookup, fetched.error, pieces):
                return stale
            raise fetched.error
        for piece in pieces:
            if (timeout := find_timeout(piece.raw)) and (stale := self._stale(lookup, timeout, pieces)):
                return stale
            if not piece.raw.is_success:
                return RangeAnswer(piece.raw, CacheStatus("partial", "refused", times))
        found = [piece.matrix for piece in pieces if piece.matrix is not None and not piece.matrix.notes.is_partial]
        if len(found) < len(pieces):
            # Points that stand elsewhere make sense only together, and only a whole answer can say that it is partial.
            return await self._past(lookup.query, next(piece.reason for piece in pieces if piece.reason))
        first, last = lookup.window
        body = self._merged(entry, found, wanted, (first, last))
        missing = sum(end - begin + 1 for begin, end in wanted.gaps)
        self._count(fetched=missing, cached=last - first + 1 - missing)
        age = self._age(wanted.kept)
        reason = next((piece.reason for piece in pieces if piece.reason), wanted.reason if pieces else "")
        result: RangeResult = "hit" if not pieces else "partial" if wanted.kept else "miss"
        return RangeAnswer(ApiResponse(200, body), CacheStatus(result, reason, times, age))

    def _merged(self, entry: CacheEntry, found: Sequence[Matrix], wanted: FetchPlan, window: tuple[int, int]) -> bytes:
        for piece in found:
            entry = replace(entry, series=entry.overlaid(piece))
        self._gate.check_series(sum(_is_in(series, window) for series in entry.series.values()))
        warnings = [note for piece in found for note in piece.notes.warnings]
        infos = [note for kept in wanted.kept for note in kept.infos] + [
            note for piece in found for note in piece.notes.infos
        ]
        body = render_matrix(entry.series, *window, warnings, infos)
        if len(body) > self._limit:
            raise AnswerTooLarge(self._limit)
        return body

    def _stale(
        self, lookup: RangeLookup, error: UpstreamError, pieces: Sequence[FetchedPiece] = ()
    ) -> RangeAnswer | None:
        """What is known although the upstream failed; None when nothing is, or when the error is the answer."""
        if not lookup.query.may_be_stale or not is_outage(error):
            return None
        # As it is by now, however old: what was read before an outage stays true in it.
        entry = self.store.get(lookup.key) or CacheEntry()
        for piece in pieces:
            if piece.matrix is not None and piece.matrix.notes.is_complete:
                entry = entry.with_piece(piece.matrix, self._clock(), 0.0)
        self._gate.check_series(sum(_is_in(series, lookup.window) for series in entry.series.values()))
        body = render_kept(entry, lookup.key.grid, lookup.window, error)
        if body is None:
            return None
        status = CacheStatus("stale", error.code, age=self._age(clip(entry.coverage, *lookup.window)))
        return RangeAnswer(ApiResponse(200, body, cacheable=False), status)

    def _age(self, kept: Coverage) -> float:
        now = self._clock()
        return max((now - extent.read_at for extent in kept), default=0.0)

    async def _fetched(self, lookup: RangeLookup, gaps: Sequence[tuple[int, int]]) -> FetchedPieces:
        """The pieces of all gaps; when one fails the others are still waited for, as they are true and stored."""
        found = await asyncio.gather(
            *(self._piece(lookup, gap, self._part(lookup.key, gap)) for gap in gaps), return_exceptions=True
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
            call = replace(self._part(lookup.key, gap), is_short=False, seconds=deadline.remaining)
            return await self._piece(lookup, gap, call)

        return await self._slow.fetch(lookup.key, gaps, ask, deadline)

    async def _piece(self, lookup: RangeLookup, gap: tuple[int, int], call: ApiRequest) -> FetchedPiece:
        """A stretch of the grid from the upstream, stored; a call under way for the same is shared."""
        return await self._pieces.get((lookup.key, gap), lambda: self._ask(lookup, gap, call))

    async def _ask(self, lookup: RangeLookup, gap: tuple[int, int], call: ApiRequest) -> FetchedPiece:
        # Before the question: what arrives at the upstream while it answers may be in it or not.
        horizon_ms, read_at = self._horizon_ms(), self._clock()
        points = gap[1] - gap[0] + 1
        with self._slow.watch(lookup.key, points):
            raw = await self._gate.forward(call)
        if raw.status != 200:
            if find_timeout(raw):
                self._slow.timed_out(lookup.key, points)
            return FetchedPiece(raw, None, "refused")
        grid = lookup.key.grid
        try:
            found = await run_cooperatively(parse_matrix(raw.body, grid, *gap))
        except UnalignedPoints:
            return FetchedPiece(raw, None, "off-grid")
        except QueryRefused:
            return FetchedPiece(raw, None, "refused")
        if not found.notes.is_complete or not raw.cacheable:
            return FetchedPiece(raw, found, "no-store" if not raw.cacheable else "incomplete")
        newest = min(gap[1], grid.index(horizon_ms - lookup.traits.lookahead_ms))
        return FetchedPiece(raw, found, "" if self._keep(lookup, found, newest, read_at) else "too-large")

    def _keep(self, lookup: RangeLookup, found: Matrix, newest: int, read_at: float) -> bool:
        """Store the settled part of a piece in what is the entry by now."""
        if newest < found.first:
            return True
        settled = found
        if newest < found.last:
            series = {labels: one.only(found.first, newest) for labels, one in found.series.items()}
            settled = replace(found, last=newest, series=series)
        known = (self.store.get(lookup.key) or CacheEntry()).pruned(self._clock() - self._lifetime)
        entry = replace(known, traits=lookup.traits).with_piece(settled, read_at, _SLACK * self._lifetime)
        return self.store.put(lookup.key, entry, entry.size + lookup.key.size)

    def _whole(self, query: RangeQuery) -> ApiRequest:
        given = query.given or _range(query.range)
        return self._call(query.query, given, query.extra, query.tenant, steps=query.range.steps)

    def _part(self, key: CacheKey, gap: tuple[int, int]) -> ApiRequest:
        begin, end = (key.grid.time_ms(place) for place in gap)
        span = TimeRange(begin, end, key.grid.step_ms)
        return self._call(key.query, _range(span), key.extra, key.tenant, steps=span.steps)

    def _call(self, promql: str, span: Pairs, extra: Pairs, tenant: Tenant, *, steps: int) -> ApiRequest:
        always = tuple(pair for pair in self._always if pair not in extra)
        parameters = (("query", promql), *span, *extra, *always)
        return ApiRequest(Endpoint.QUERY_RANGE, parameters, tenant=tenant, is_short=steps <= _SHORT_STEPS)

    def _horizon_ms(self) -> int:
        return int(self._now() * 1000) - self._freshness_ms

    def _count(self, fetched: int = 0, cached: int = 0) -> None:
        self._telemetry.range_points.labels("fetched").inc(fetched)
        self._telemetry.range_points.labels("cached").inc(cached)


def _range(span: TimeRange) -> Pairs:
    start, end = format_seconds(span.start_ms), format_seconds(span.end_ms)
    return (("start", start), ("end", end), ("step", f"{span.step_ms}ms"))


def _times(grid: StepGrid, gaps: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((grid.time_ms(begin), grid.time_ms(end)) for begin, end in gaps)


def _is_in(series: CachedSeries, window: tuple[int, int]) -> bool:
    return bool(series.values.between(*window) or series.histograms.between(*window))
