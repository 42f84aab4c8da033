"""Asking the upstream for the points of a range query, as a whole or in pieces, which are kept as they arrive."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from gatewayz_metrics.cooperative import run_cooperatively
from gatewayz_metrics.errors import BadAnswer, MemoryFull, QueryRefused, UpstreamError
from gatewayz_metrics.memory import borrow_memory, open_account
from gatewayz_metrics.promql.times import TimeRange, format_seconds
from gatewayz_metrics.range_cache.backlog import Backlog
from gatewayz_metrics.range_cache.fast_parse import Layout, UnexpectedLayout
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.kept import KeptPoints
from gatewayz_metrics.range_cache.lookup import RangeLookup
from gatewayz_metrics.range_cache.matrix import UnalignedPoints, parse_matrix
from gatewayz_metrics.range_cache.outage import find_timeout
from gatewayz_metrics.range_cache.pieces import DASHBOARD_PATIENCE, FetchedPiece, FetchedPieces, SlowQueries
from gatewayz_metrics.range_cache.range_query import RangeQuery
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.clock import Moment, TrustedClock
from gatewayz_metrics.upstream.deadline import start_deadline
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.pieces import count_marks
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse, Endpoint, Pairs
from gatewayz_metrics.upstream.response import SERIES_START
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

log = logging.getLogger(__name__)

# Bytes, measured: the objects of a series beside its texts while it is taken apart.
SERIES_BYTES = 80
# Points up to which a range query costs about as much as an instant query: what a refresh asks for.
_SHORT_STEPS = 60


class PieceFetcher:
    """Fetches stretches of the grid; a call under way for the same stretch is shared."""

    def __init__(
        self,
        gate: QueryLimiter,
        settings: Settings,
        telemetry: Telemetry,
        clock: TrustedClock,
        *,
        kept: KeptPoints,
        backlog: Backlog,
    ) -> None:
        self._gate = gate
        self._telemetry = telemetry
        self._backlog = backlog
        self._settings = settings
        self._always = settings.engine.range_parameters
        self._kept = kept
        self._slow = SlowQueries(settings.prometheus_range_timeout)
        self._pieces: SingleFlightCache[FetchedPiece] = SingleFlightCache(lambda _piece: 0.0, clock.monotonic)

    def forget(self) -> None:
        """Share no call that is under way."""
        self._pieces.clear()

    def is_slow(self, lookup: RangeLookup) -> bool:
        """Whether a query has been too slow to be asked for as a whole."""
        return lookup.query.range.steps >= self._slow.points_at_once(lookup.key)

    async def past(self, query: RangeQuery) -> ApiResponse:
        """The whole answer, of which nothing is kept."""
        return await self._gate.forward(self._whole(query))

    async def whole(self, lookup: RangeLookup) -> FetchedPiece:
        """The whole answer, kept if there is room; else it is not taken apart."""
        return await self._piece(lookup, lookup.window, self._whole(lookup.query), is_part=False)

    async def parts(self, lookup: RangeLookup, gaps: Sequence[tuple[int, int]]) -> FetchedPieces:
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

    async def parts_slowly(self, lookup: RangeLookup, gaps: Sequence[tuple[int, int]]) -> FetchedPieces:
        """The gaps of a slow query in small pieces, one after another, as far as the time for them goes."""
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

        What is no part of a larger answer is taken apart afterwards, and not at all where it has no room.
        """
        key = lookup.key, gap, lookup.query.renew, is_part
        return await self._pieces.get(key, lambda: self._ask(lookup, gap, call, is_part=is_part))

    async def _ask(self, lookup: RangeLookup, gap: tuple[int, int], call: ApiRequest, *, is_part: bool) -> FetchedPiece:
        # Before the question: what arrives at the upstream while it answers may be in it or not.
        begun = self._kept.begin()
        points = gap[1] - gap[0] + 1
        with self._slow.watch(lookup.key, points):
            raw = await self._gate.forward(call)
        if raw.status != 200:
            if find_timeout(raw):
                self._slow.timed_out(lookup.key, points)
            return FetchedPiece(raw, None, "refused")
        size = await _size_taken_apart(raw)
        if is_part:
            with borrow_memory(size):
                return await self._take_apart(lookup, gap, raw, begun, size)
        newest = min(gap[1], self._kept.settled(lookup, begun.time))
        settled = max(0, newest - gap[0] + 1) / points
        if not self._kept.store.has_room(int(settled * size)):
            # It goes on as it came, and is not taken apart for nothing.
            return FetchedPiece(raw, None, "too-large")
        if _is_plain(raw, lookup.key.grid) and self._backlog.has_room(len(raw.body) + size):
            return self._take_apart_later(lookup, gap, raw, begun, size)
        try:
            with borrow_memory(size):
                return await self._take_apart(lookup, gap, raw, begun, size)
        except MemoryFull:
            return FetchedPiece(raw, None, "memory")

    def _take_apart_later(
        self, lookup: RangeLookup, gap: tuple[int, int], raw: ApiResponse, begun: Moment, size: int
    ) -> FetchedPiece:
        """The answer as it came, whose points are kept soon."""
        account = open_account()
        size += len(raw.body)
        if account is not None:
            try:
                account.reserve(size)
            except MemoryFull:
                account.close()
                return FetchedPiece(raw, None, "memory")

        async def keep() -> None:
            if lookup.generation != self._kept.generation:
                return
            try:
                piece = await self._take_apart(lookup, gap, raw, begun, size)
            except BadAnswer as exc:
                log.warning("An answer to a range query went out as it came, and is not kept: %s", exc.sentence)
                piece = FetchedPiece(raw, None, "malformed")
            if piece.reason:
                self._telemetry.range_fetches.labels(piece.reason).inc()

        self._backlog.add(lookup.key, size, keep, account)
        return FetchedPiece(raw, None)

    async def _take_apart(
        self, lookup: RangeLookup, gap: tuple[int, int], raw: ApiResponse, begun: Moment, size: int
    ) -> FetchedPiece:
        known = self._kept.entry(lookup.key).points.series
        try:
            found = await run_cooperatively(parse_matrix(raw.body, lookup.key.grid, *gap, known))
        except UnalignedPoints:
            return FetchedPiece(raw, None, "off-grid")
        except QueryRefused:
            return FetchedPiece(raw, None, "refused")
        if not found.notes.is_repeatable or not raw.cacheable:
            return FetchedPiece(raw, found, "no-store" if not raw.cacheable else "incomplete", size)
        return FetchedPiece(raw, found, await self._kept.keep(lookup, found, begun), size)

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


async def _size_taken_apart(raw: ApiResponse) -> int:
    """The bytes that an answer takes as columns, about: its text and each series."""
    series = await count_marks(raw.body, SERIES_START) if raw.series is None else raw.series
    return len(raw.body) + SERIES_BYTES * series


def _is_plain(raw: ApiResponse, grid: StepGrid) -> bool:
    """Whether an answer, as far as can be seen at its ends, is as engines write it and can be kept."""
    try:
        layout = Layout.of(raw.body)
    except UnexpectedLayout:
        return False
    return raw.cacheable and layout.notes.is_repeatable and layout.begins_on(grid, raw.body)


def _range(span: TimeRange) -> Pairs:
    start, end = format_seconds(span.start_ms), format_seconds(span.end_ms)
    return (("start", start), ("end", end), ("step", f"{span.step_ms}ms"))
