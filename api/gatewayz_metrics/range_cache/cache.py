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
from gatewayz_metrics.errors import AnswerTooLarge, MemoryFull, QueryRefused
from gatewayz_metrics.memory import borrow_memory, let_accounts_go
from gatewayz_metrics.promql.cacheability import CacheTraits
from gatewayz_metrics.promql.times import TimeRange, format_seconds
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
from gatewayz_metrics.range_cache.plan import FetchPlan, bypass_reason, plan_fetches, unexpired
from gatewayz_metrics.range_cache.points import POINT_BYTES
from gatewayz_metrics.range_cache.range_query import CacheStatus, RangeAnswer, RangeQuery
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.pieces import count_marks
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint, Pairs, Tenant
from gatewayz_metrics.upstream.response import SERIES_START
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


@dataclass(frozen=True, slots=True)
class FetchedPiece:
    """An answer of the upstream, taken apart where it can be put together with others."""

    raw: ApiResponse
    matrix: Matrix | None
    # Why it was not stored.
    reason: str = ""


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
        self._answers: SingleFlightCache[RangeAnswer] = SingleFlightCache(lambda _answer: 0.0, clock)
        self._pieces: SingleFlightCache[FetchedPiece] = SingleFlightCache(lambda _piece: 0.0, clock)

    async def answer(self, query: RangeQuery) -> RangeAnswer:
        """The envelope of a range query, as the upstream would write it now."""
        found = await self._answers.get(query, lambda: self._answer(query))
        self._observe(found.cache_status.result)
        if found.cache_status.reason:
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
        wanted = plan_fetches(unexpired(entry.coverage, self._clock() - self._lifetime), *lookup.window)
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
        piece = await self._piece(lookup, wanted.gaps[0], self._whole(query), is_part=False)
        self._count(fetched=wanted.gaps[0][1] - wanted.gaps[0][0] + 1)
        fetched = ((query.range.start_ms, query.range.last_ms),)
        return RangeAnswer(piece.raw, CacheStatus("miss", piece.reason or wanted.reason, fetched))

    async def _merge_with_cached(self, lookup: RangeLookup, entry: CacheEntry, wanted: FetchPlan) -> RangeAnswer:
        """What is known and what is missing, put together."""
        pieces = await self._fetched(lookup, wanted.gaps)
        times = _times(lookup.key.grid, wanted.gaps)
        for piece in pieces:
            if not piece.raw.is_success:
                return RangeAnswer(piece.raw, CacheStatus("partial", "refused", times))
        found = [piece.matrix for piece in pieces if piece.matrix is not None and not piece.matrix.notes.is_partial]
        if len(found) < len(pieces):
            # Points that stand elsewhere make sense only together, and only a whole answer can say that it is partial.
            return await self._past(lookup.query, next(piece.reason for piece in pieces if piece.reason))
        first, last = lookup.window
        with borrow_memory(entry.size + sum([await _size_taken_apart(piece.raw.body) for piece in pieces])):
            body = await self._merged(entry, found, wanted, (first, last))
        # The pieces are in the body now.
        let_accounts_go()
        missing = sum(end - begin + 1 for begin, end in wanted.gaps)
        self._count(fetched=missing, cached=last - first + 1 - missing)
        age = self._clock() - min(extent.read_at for extent in wanted.kept)
        reason = next((piece.reason for piece in pieces if piece.reason), "")
        return RangeAnswer(ApiResponse(200, body), CacheStatus("partial" if pieces else "hit", reason, times, age))

    async def _merged(
        self, entry: CacheEntry, found: Sequence[Matrix], wanted: FetchPlan, window: tuple[int, int]
    ) -> bytes:
        for piece in found:
            entry = replace(entry, series=await run_cooperatively(entry.overlaid(piece)))
        self._gate.check_series(sum(_is_in(series, window) for series in entry.series.values()))
        warnings = [note for piece in found for note in piece.notes.warnings]
        infos = [note for kept in wanted.kept for note in kept.infos] + [
            note for piece in found for note in piece.notes.infos
        ]
        body = await run_cooperatively(render_matrix(entry.series, *window, warnings, infos))
        if len(body) > self._limit:
            raise AnswerTooLarge(self._limit)
        return body

    async def _fetched(self, lookup: RangeLookup, gaps: Sequence[tuple[int, int]]) -> list[FetchedPiece]:
        """The pieces of all gaps; when one fails the others are still waited for, as they are true and stored."""
        found = await asyncio.gather(
            *(self._piece(lookup, gap, self._part(lookup.key, gap), is_part=True) for gap in gaps),
            return_exceptions=True,
        )
        pieces: list[FetchedPiece] = []
        for piece in found:
            if isinstance(piece, BaseException):
                raise piece
            pieces.append(piece)
        return pieces

    async def _piece(
        self, lookup: RangeLookup, gap: tuple[int, int], call: ApiRequest, *, is_part: bool
    ) -> FetchedPiece:
        """A stretch of the grid from the upstream, stored; a call under way for the same is shared.

        What is no part of a larger answer is not taken apart where it has no room.
        """
        return await self._pieces.get((lookup.key, gap), lambda: self._ask(lookup, gap, call, is_part=is_part))

    async def _ask(self, lookup: RangeLookup, gap: tuple[int, int], call: ApiRequest, *, is_part: bool) -> FetchedPiece:
        # Before the question: what arrives at the upstream while it answers may be in it or not.
        horizon_ms, read_at = self._horizon_ms(), self._clock()
        raw = await self._gate.forward(call)
        if raw.status != 200:
            return FetchedPiece(raw, None, "refused")
        newest = min(gap[1], lookup.key.grid.index(horizon_ms - lookup.traits.lookahead_ms))
        size = await _size_taken_apart(raw.body)
        settled = max(0, newest - gap[0] + 1) / (gap[1] - gap[0] + 1)
        if not is_part and not self.store.has_room(int(settled * size)):
            # It goes on as it came, and is not taken apart for nothing.
            return FetchedPiece(raw, None, "too-large")
        try:
            with borrow_memory(size):
                return await self._take_apart(lookup, gap, raw, newest, read_at)
        except MemoryFull:
            if is_part:
                raise
            return FetchedPiece(raw, None, "memory")

    async def _take_apart(
        self, lookup: RangeLookup, gap: tuple[int, int], raw: ApiResponse, newest: int, read_at: float
    ) -> FetchedPiece:
        try:
            found = await run_cooperatively(parse_matrix(raw.body, lookup.key.grid, *gap))
        except UnalignedPoints:
            return FetchedPiece(raw, None, "off-grid")
        except QueryRefused:
            return FetchedPiece(raw, None, "refused")
        if not found.notes.is_complete or not raw.cacheable:
            return FetchedPiece(raw, found, "no-store" if not raw.cacheable else "incomplete")
        return FetchedPiece(raw, found, "" if await self._keep(lookup, found, newest, read_at) else "too-large")

    async def _keep(self, lookup: RangeLookup, found: Matrix, newest: int, read_at: float) -> bool:
        """Store the settled part of a piece in what is the entry by now."""
        if newest < found.first:
            return True
        settled = found
        if newest < found.last:
            settled = replace(found, last=newest, series=await run_cooperatively(found.until(newest)))
        while True:
            before = self.store.get(lookup.key)
            known = await run_cooperatively((before or CacheEntry()).pruned(self._clock() - self._lifetime))
            added = replace(known, traits=lookup.traits).with_piece(settled, read_at, _SLACK * self._lifetime)
            entry = await run_cooperatively(added)
            # Other tasks ran in between: what they have stored must not be lost.
            if self.store.get(lookup.key) is before:
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
