"""What points are kept under, and a query that may be answered from them."""

from dataclasses import dataclass
from zlib import crc32

from gatewayz_metrics.promql.cacheability import CacheTraits
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.range_query import RangeQuery
from gatewayz_metrics.upstream.clock import Moment
from gatewayz_metrics.upstream.request import Pairs, Tenant


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
