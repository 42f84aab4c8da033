"""The points that a range cache keeps, for as long as they may be believed."""

from collections.abc import Callable
from dataclasses import replace

from gatewayz_metrics.bounded_store import BoundedStore
from gatewayz_metrics.cooperative import run_cooperatively
from gatewayz_metrics.range_cache.entry import CacheEntry
from gatewayz_metrics.range_cache.lookup import CacheKey, RangeLookup
from gatewayz_metrics.range_cache.matrix import Matrix
from gatewayz_metrics.range_cache.plan import Lifetime
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.clock import FollowedClock, Moment, TrustedClock

# One entry may take this share of the bytes: a single huge panel must not push everything else out.
_LARGEST_SHARE = 0.25
# Seconds for which points are believed that came with a warning about the query's own data.
_WARNED_SECONDS = 10.0


class KeptPoints:
    """The entries of a range cache.

    They are forgotten together, on request and when our clock went back; `on_forgotten` is called then.
    """

    def __init__(
        self, settings: Settings, telemetry: Telemetry, clock: TrustedClock, on_forgotten: Callable[[], None]
    ) -> None:
        self.store: BoundedStore[CacheEntry] = BoundedStore(
            settings.cache_range_bytes, _LARGEST_SHARE, telemetry.range_bytes.set
        )
        # How often everything was forgotten.
        self.generation = 0
        self._lifetime = settings.cache_range_ttl
        self._freshness_ms = int(settings.cache_freshness * 1000)
        self._clock = clock
        self._followed = FollowedClock(clock, self.forget)
        self._on_forgotten = on_forgotten

    def begin(self) -> Moment:
        """The moment that it is; what was kept before our clock went back is forgotten."""
        return self._followed.begin()

    def forget(self) -> None:
        """Forget every point; what is under way is not kept either."""
        self.generation += 1
        self.store.clear()
        self._on_forgotten()

    def entry(self, key: CacheKey) -> CacheEntry:
        """What is kept of a query, which may be nothing."""
        return self.store.get(key) or CacheEntry()

    def lifetime(self, key: CacheKey) -> Lifetime:
        """For how long the points of a query are believed."""
        return Lifetime(self._lifetime, key.shift)

    def settled(self, lookup: RangeLookup, moment: float) -> int:
        """The last place of a window that is settled: what the clocks have not reached (any more) is not."""
        place = lookup.key.grid.index(self.horizon_ms(moment) - lookup.traits.lookahead_ms)
        return min(lookup.window[1], place)

    def horizon_ms(self, moment: float) -> int:
        """Up to when points stay as they are, at a Unix time that both clocks have reached."""
        return int(moment * 1000) - self._freshness_ms

    async def keep(self, lookup: RangeLookup, found: Matrix, begun: Moment) -> str:
        """Store the settled part of a piece in what is the entry by now; why nothing can be stored, or nothing."""
        certain = self._clock.settle(begun)
        if certain is None or lookup.generation != self.generation:
            return "forgotten"
        if not lookup.traits.is_settled(self.horizon_ms(certain)):
            return "fixed-time"
        points = found.points
        newest = min(points.last, self.settled(lookup, certain))
        if newest < points.first:
            return ""
        settled = replace(found, points=points.clipped(points.first, newest))
        grid, lifetime = lookup.key.grid, self.lifetime(lookup.key)
        if found.notes.warnings:
            lifetime = Lifetime(min(self._lifetime, _WARNED_SECONDS), lookup.key.shift)
        while True:
            before = self.store.get(lookup.key)
            known = await run_cooperatively((before or CacheEntry()).pruned(grid, self._clock.monotonic()))
            added = replace(known, traits=lookup.traits).with_piece(settled, grid, begun.monotonic, lifetime)
            entry = await run_cooperatively(added)
            # Other tasks ran in between: what they have forgotten stays so, and what they have stored is not lost.
            if self._clock.settle(begun) is None or lookup.generation != self.generation:
                return "forgotten"
            if self.store.get(lookup.key) is before:
                return "" if self.store.put(lookup.key, entry, entry.size + lookup.key.size) else "too-large"
