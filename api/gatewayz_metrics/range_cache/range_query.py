"""What a range cache is asked, and what it answers."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from gatewayz_metrics.lease import Lease
from gatewayz_metrics.promql.parser import ParsedQuery, QueryText
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.upstream.request import UNRESTRICTED, ApiResponse, Pairs, Tenant

RangeResult = Literal["hit", "partial", "miss", "bypass", "stale"]


@dataclass(frozen=True)
class RangeQuery:
    """An expression at every time of a range."""

    query: str
    range: TimeRange
    # Whatever else the request holds (lookback_delta, timeout, limit, what we do not know): sent along and
    # part of what makes two queries the same.
    extra: Pairs = ()
    tenant: Tenant = UNRESTRICTED
    # A reason of the caller's own to go past the cache; a name from the code, it becomes a metric label.
    bypass: str = ""
    # Whether the caller shows warnings to people, so that kept points may be the answer while the upstream is down.
    may_be_stale: bool = False
    # start, end and step as the caller wrote them, for when the whole query goes on.
    given: Pairs = field(default=(), compare=False)
    # The query as the caller has it, where it may have been read already.
    text: QueryText | None = field(default=None, compare=False, repr=False)
    # Whether the caller wants nothing that was kept; what comes instead is kept for others.
    renew: bool = False

    @property
    def identity(self) -> Hashable:
        """What two queries have in common that may share one answer."""
        return self.query, self.range, self.extra, self.tenant, self.bypass, self.may_be_stale, self.renew

    @cached_property
    def read(self) -> QueryText:
        """The query, read once for everything that a request does with it."""
        return self.text or QueryText(self.query)

    @property
    def parsed(self) -> ParsedQuery:
        """What is in the query."""
        return self.read.parsed


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """Where an answer came from."""

    result: RangeResult
    reason: str = ""
    # Ranges asked of the upstream, in milliseconds, both ends included.
    fetched: tuple[tuple[int, int], ...] = ()
    # Seconds since the oldest kept part was read.
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class RangeAnswer:
    """The envelope of a range query and where it came from."""

    raw: ApiResponse
    cache_status: CacheStatus
    # Of a hit: for how long it will be one.
    lease: Lease | None = None

    @property
    def status(self) -> int:
        """The HTTP status: 200, or that of a refusal."""
        return self.raw.status

    @property
    def body(self) -> bytes:
        """The envelope."""
        return self.raw.body
