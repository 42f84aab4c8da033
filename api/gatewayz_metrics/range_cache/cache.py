"""Range queries answered from kept points and as little of the upstream as possible.

A point of a range query depends on the expression, its own time and the data, not on where the range
begins or ends, as long as the expression has none of the features that `bypass_reason` looks for. So
points of one expression on one grid (step and phase) may be put together from several answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import ref

from gatewayz_metrics.cooperative import run_cooperatively
from gatewayz_metrics.errors import AnswerTooLarge, UpstreamError
from gatewayz_metrics.lease import Lease
from gatewayz_metrics.memory import borrow_memory, let_accounts_go
from gatewayz_metrics.range_cache.annotations import merge_notes
from gatewayz_metrics.range_cache.backlog import Backlog
from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.fetch import PieceFetcher
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.kept import KeptPoints
from gatewayz_metrics.range_cache.lookup import CacheKey, RangeLookup
from gatewayz_metrics.range_cache.matrix import Matrix, render_matrix
from gatewayz_metrics.range_cache.outage import find_timeout, is_outage, render_kept
from gatewayz_metrics.range_cache.pieces import (
    FetchedPiece,
    plan_pieces,
)
from gatewayz_metrics.range_cache.plan import (
    Coverage,
    FetchPlan,
    bypass_reason,
    clip,
    plan_fetches,
    unexpired,
)
from gatewayz_metrics.range_cache.range_query import CacheStatus, RangeAnswer, RangeQuery, RangeResult
from gatewayz_metrics.range_cache.timeline import Timeline
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.clock import Moment, TrustedClock
from gatewayz_metrics.upstream.limits import QueryLimiter
from gatewayz_metrics.upstream.request import ApiResponse
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

# The share of the memory for answers that may be taken by those which have gone out and are still to be taken apart.
_BACKLOG_SHARE = 1 / 8
# Seconds for which a refusal is repeated, and the bytes of all of them.
_REFUSAL_SECONDS = 5.0
_REFUSAL_BYTES = 2**20


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
        self._is_on = settings.cache_range
        self._limit = settings.max_response_bytes
        self._telemetry = telemetry
        self._observe = telemetry.of_cache("ranges")
        self._time = clock
        self._kept = KeptPoints(settings, telemetry, clock, self._forget_answers)
        self._backlog = Backlog(int(settings.max_memory_bytes * _BACKLOG_SHARE))
        self._fetcher = PieceFetcher(gate, settings, telemetry, clock, kept=self._kept, backlog=self._backlog)
        self._answers: SingleFlightCache[ReusableAnswer] = SingleFlightCache(
            lambda kept: kept.seconds, clock.monotonic, weigh=lambda kept: kept.weight, capacity=_REFUSAL_BYTES
        )

    @property
    def size(self) -> int:
        """The bytes that the kept points take, about."""
        return self._kept.store.size

    async def answer(self, query: RangeQuery) -> RangeAnswer:
        """The envelope of a range query, as the upstream would write it now."""
        begun = self._kept.begin()
        if query.renew:
            for may_be_stale in (True, False):
                self._answers.discard(replace(query, renew=False, may_be_stale=may_be_stale).identity)

        async def produce() -> ReusableAnswer:
            with self._backlog.making_way():
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

    async def aclose(self) -> None:
        """Leave off keeping what has gone out."""
        await self._backlog.aclose()

    def purge(self) -> None:
        """Forget every point, as after deletions or a back-fill; what is under way is not kept either."""
        self._kept.forget()

    def _forget_answers(self) -> None:
        self._answers.clear()
        self._fetcher.forget()

    async def _answer(self, query: RangeQuery, begun: Moment) -> RangeAnswer:
        if not self._is_on:
            return await self._past(query, "off")
        grid = StepGrid.of(query.range)
        key = CacheKey(query.query, grid, query.extra, query.tenant)
        if not query.renew:
            # What has gone out and is not kept yet would be asked for again.
            await self._backlog.wait(key)
        entry = self._kept.entry(key)
        horizon_ms = self._kept.horizon_ms(begun.time)
        if reason := bypass_reason(query, horizon_ms, entry.traits):
            return await self._past(query, reason)
        lookup = RangeLookup(query, key, entry.traits or query.parsed.traits, begun, self._kept.generation)
        first, last = lookup.window
        if query.renew:
            return await self._missed(lookup, "renewed")
        known = clip(unexpired(entry.coverage, begun.monotonic), first, self._kept.settled(lookup, begun.time))
        if self._fetcher.is_slow(lookup):
            return await self._merge_with_cached(lookup, entry, plan_pieces(known, first, last))
        wanted = plan_fetches(known, first, last)
        if wanted.gaps and not wanted.kept:
            return await self._missed(lookup, wanted.reason)
        return await self._merge_with_cached(lookup, entry, wanted)

    async def _past(self, query: RangeQuery, reason: str) -> RangeAnswer:
        raw = await self._fetcher.past(query)
        self._count(fetched=query.range.steps + 1)
        return RangeAnswer(raw, CacheStatus("bypass", reason, ((query.range.start_ms, query.range.last_ms),)))

    async def _missed(self, lookup: RangeLookup, reason: str) -> RangeAnswer:
        """Everything is asked for, and the answer goes on as it came."""
        query = lookup.query
        try:
            piece = await self._fetcher.whole(lookup)
        except UpstreamError as exc:
            if stale := await self._stale(lookup, exc):
                return stale
            raise
        if (timeout := find_timeout(piece.raw)) and (stale := await self._stale(lookup, timeout)):
            return stale
        self._count(fetched=query.range.steps + 1)
        fetched = ((query.range.start_ms, query.range.last_ms),)
        return RangeAnswer(piece.raw, CacheStatus("miss", piece.reason or reason, fetched))

    async def _merge_with_cached(self, lookup: RangeLookup, entry: CacheEntry, wanted: FetchPlan) -> RangeAnswer:
        """What is known and what is missing, put together."""
        fetch = self._fetcher.parts_slowly if wanted.reason == "slow" else self._fetcher.parts
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
        self._kept.begin()
        if lookup.generation != self._kept.generation:
            return await self._past(lookup.query, "forgotten")
        first, last = lookup.window
        with borrow_memory(sum(piece.size for piece in pieces)):
            body = await self._merged(lookup, entry.points, found, wanted)
        # The pieces are in the body now.
        let_accounts_go()
        missing = sum(end - begin + 1 for begin, end in wanted.gaps)
        self._count(fetched=missing, cached=last - first + 1 - missing)
        age = self._age(wanted.kept)
        reason = next((piece.reason for piece in pieces if piece.reason), wanted.reason if pieces else "")
        result: RangeResult = "hit" if not pieces else "partial" if wanted.kept else "miss"
        lease = None if pieces else self._lease(lookup, entry, wanted.kept)
        return RangeAnswer(ApiResponse(200, body), CacheStatus(result, reason, times, age), lease)

    def _lease(self, lookup: RangeLookup, entry: CacheEntry, kept: Coverage) -> Lease:
        """The lease of an answer for which nothing was asked.

        It ends with the first extent that expires, with the entry, as whatever is stored makes another, and for as
        long as less time is certain than was then: what was settled might not be.
        """
        key, moment, found = lookup.key, lookup.begun.time, ref(entry)
        expires_at = min(extent.expires_at for extent in kept)
        read_at = min(extent.read_at for extent in kept)
        points = lookup.window[1] - lookup.window[0] + 1

        def is_valid() -> bool:
            begun = self._kept.begin()
            entry = found()
            is_kept = entry is not None and self._kept.store.get(key) is entry
            return is_kept and begun.monotonic <= expires_at and begun.time >= moment

        def note_use() -> None:
            self._observe("hit")
            self._count(cached=points)

        return Lease(is_valid, note_use, lambda: self._time.monotonic() - read_at)

    async def _merged(self, lookup: RangeLookup, points: Timeline, found: Sequence[Matrix], wanted: FetchPlan) -> bytes:
        for piece in found:
            points = await run_cooperatively(points.overlaid(piece.series, piece.points))
        notes = merge_notes([*(kept.notes for kept in wanted.kept), *(piece.notes for piece in found)])
        shown = points.within(*lookup.window)
        rendered = await run_cooperatively(render_matrix(shown, lookup.key.grid, notes.warnings, notes.infos))
        self._gate.check_series(rendered.series)
        if len(rendered.body) > self._limit:
            raise AnswerTooLarge(self._limit)
        return rendered.body

    async def _stale(
        self, lookup: RangeLookup, error: UpstreamError, pieces: Sequence[FetchedPiece] = ()
    ) -> RangeAnswer | None:
        """What is known although the upstream failed; None when nothing is, or when the error is the answer."""
        if not lookup.query.may_be_stale or not is_outage(error):
            return None
        # As it is by now, however old: what was read before an outage stays true in it.
        begun = self._kept.begin()
        grid = lookup.key.grid
        entry = self._kept.entry(lookup.key).until(self._kept.settled(lookup, begun.time))
        for piece in pieces:
            if piece.matrix is not None and piece.matrix.notes.is_complete:
                lifetime = self._kept.lifetime(lookup.key)
                entry = await run_cooperatively(entry.with_piece(piece.matrix, grid, begun.monotonic, lifetime))
        rendered = await run_cooperatively(render_kept(entry, grid, lookup.window, error))
        if rendered is None:
            return None
        self._gate.check_series(rendered.series)
        status = CacheStatus("stale", error.code, age=self._age(clip(entry.coverage, *lookup.window)))
        return RangeAnswer(ApiResponse(200, rendered.body, cacheable=False), status)

    def _age(self, kept: Coverage) -> float:
        now = self._time.monotonic()
        return max((now - extent.read_at for extent in kept), default=0.0)

    def _count(self, fetched: int = 0, cached: int = 0) -> None:
        self._telemetry.range_points.labels("fetched").inc(fetched)
        self._telemetry.range_points.labels("cached").inc(cached)


def _times(grid: StepGrid, gaps: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((grid.time_ms(begin), grid.time_ms(end)) for begin, end in gaps)
