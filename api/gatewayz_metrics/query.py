"""The query layer: statistics and families of the catalogue, read by few instant queries.

The expressions are combined into batches, one instant query each. A batch that the upstream refuses
is halved until the expression at fault is alone, so one bad expression loses its own value and no other.
"""

import asyncio
import logging
import time as clocks
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, inf
from typing import NamedTuple, TypeVar

from gatewayz_metrics.catalogue import Catalogue, Statistic
from gatewayz_metrics.catalogue.scrape_gaps import GapCheck, find_gap_checks
from gatewayz_metrics.errors import AnswerTooLarge, BadAnswer, CircuitOpen, QueryRefused, ServiceError, UpstreamError
from gatewayz_metrics.lease import Lease
from gatewayz_metrics.logs import printable
from gatewayz_metrics.promql.build import Slots, batch
from gatewayz_metrics.query_plan import QueryPlanner, TimedQuery
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import InstantQueries
from gatewayz_metrics.upstream.response import Row, SampleTable, Vector
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

log = logging.getLogger(__name__)

# Prometheus evaluates one query on one core: measured, four batches in parallel beat one.
_STATISTIC_GROUPS = 4
# Fewer expressions than this are not worth a request of their own.
_EXPRESSIONS_PER_GROUP = 6
# For all families, and for one category, while nothing is known of what they cost.
_FAMILY_GROUPS, _CATEGORY_GROUPS = 2, 1

# Seconds. A snapshot with a failure is cached too, or every caller would query the upstream during an outage,
# but only briefly, so that values come back soon after it.
_FAILURE_LIFETIME = 1.0

# Bytes, measured: a sample of a snapshot whose three labels have values of their own; of a bucket it is half as much.
# Snapshots together may take a quarter of MAX_MEMORY_BYTES.
_SAMPLE = 310
_SNAPSHOTS_SHARE = 1 / 4

T = TypeVar("T")


class NamedTable(NamedTuple):
    """Samples under their name in the catalogue, with the same label names; there is at least one."""

    name: str
    labels: tuple[str, ...]
    # The labels' values in this order, then the engine's text of the value, which keeps every digit.
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Reading:
    """The samples of one statistic or family, or the error; with neither there is no data.

    `choice` is the place of the source that has them among the entry's `choices`.
    """

    tables: tuple[NamedTable, ...] = ()
    error: ServiceError | None = None
    choice: int = 0

    @property
    def size(self) -> int:
        """How many samples there are."""
        return sum(len(table.rows) for table in self.tables)

    @property
    def is_absent(self) -> bool:
        """Whether the upstream answered and has nothing."""
        return self.error is None and not self.tables

    @property
    def value(self) -> str | None:
        """The value of the first sample, None where there is none."""
        return self.tables[0].rows[0][-1] if self.tables else None


@dataclass(frozen=True)
class Snapshot:
    """Readings by name, all of one evaluation time `at` (Unix seconds)."""

    at: float
    readings: dict[str, Reading]
    warnings: tuple[str, ...] = ()
    # What was asked for, where it is kept under that.
    key: Hashable = field(default=None, compare=False)
    # When it was asked for, on the monotonic clock.
    asked_at: float = field(default=0.0, compare=False)
    _rendered: dict[Hashable, bytes] = field(default_factory=dict, compare=False)
    _pages: SingleFlightCache[bytes] = field(
        default_factory=lambda: SingleFlightCache(lambda _page: inf, clocks.monotonic, capacity=1), compare=False
    )

    @cached_property
    def outage(self) -> UpstreamError | None:
        """The upstream's error when every reading failed with one, else None."""
        errors = [reading.error for reading in self.readings.values()]
        failures = [error for error in errors if isinstance(error, UpstreamError)]
        return failures[0] if failures and len(failures) == len(errors) else None

    @cached_property
    def disturbed(self) -> bool:
        """Whether any reading failed with an UpstreamError; a refused expression does not count."""
        return any(isinstance(reading.error, UpstreamError) for reading in self.readings.values())

    def once(self, form: Hashable, render: Callable[[], bytes]) -> bytes:
        """The result of `render`, kept with the snapshot: each format is rendered once."""
        if form not in self._rendered:
            self._rendered[form] = render()
        return self._rendered[form]

    async def once_for_all(self, form: Hashable, render: Callable[[], Awaitable[bytes]]) -> bytes:
        """The same for what takes long to render: whoever asks meanwhile waits for the same page."""
        return await self._pages.get(form, render)

    @property
    def weight(self) -> int:
        """Bytes that it takes, about, before it is rendered."""
        return sum(_SAMPLE * reading.size for reading in self.readings.values())


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Expressions that must stay in one query, as (sample name, PromQL), for each source that is to be tried.

    `names` are the statistics or families that get their reading from the first source that has samples, `weight`
    is the part's share of the cost.
    """

    names: tuple[str, ...]
    choices: tuple[tuple[tuple[str, str], ...], ...]
    weight: int
    # Asked in the same query; it tells what the window of the statistics lacks.
    check: GapCheck | None = None
    # The place of the first of `choices` among all sources of the entry.
    begin: int = 0

    def split(self, sources: int) -> tuple["BatchPart", "BatchPart | None"]:
        """The part with so many of its sources, at least one, and another with the rest; None when nothing is left."""
        if not 0 < sources < len(self.choices):
            return self, None
        rest = replace(self, choices=self.choices[sources:], begin=self.begin + sources, check=None)
        return replace(self, choices=self.choices[:sources]), rest

    def expressions(self) -> Iterator[tuple[str, str]]:
        """All of them, under names that tell the sources apart."""
        for choice, expressions in enumerate(self.choices, self.begin):
            for name, promql in expressions:
                yield _label_of(name, choice), promql

    def read(self, found: Mapping[str, Sequence[SampleTable]]) -> Reading:
        """The samples of the first source that has some."""
        for choice, expressions in enumerate(self.choices, self.begin):
            names = dict.fromkeys(name for name, _ in expressions)
            tables = tuple(
                NamedTable(name, table.labels, table.rows)
                for name in names
                for table in found.get(_label_of(name, choice), ())
            )
            if tables:
                return Reading(tables, choice=choice)
        return Reading()


def _label_of(name: str, choice: int) -> str:
    """The part label of a sample name; no metric name has a `#`."""
    return f"{name}#{choice}" if choice else name


class QueryLayer:
    """Reads the statistics and families of a catalogue from one upstream.

    `cache_ttl`, `cache_stale`, `deadline` and `scrape_interval` are in seconds, `max_memory` is what all answers may
    take, in bytes. By `clock`, which is monotonic, answers age and queries are timed.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        source: InstantQueries,
        telemetry: Telemetry,
        *,
        selector: str = "",
        cache_ttl: float = 5.0,
        cache_stale: float = 0.0,
        deadline: float = 8.0,
        scrape_interval: float = 15.0,
        max_memory: int = 512 * 2**20,
        connections: int = 20,
        clock: Callable[[], float] = clocks.monotonic,
        now: Callable[[], float] = clocks.time,
    ) -> None:
        self.catalogue = catalogue
        self.slots = Slots(selector, catalogue.window)
        self._source = source
        self._telemetry = telemetry
        self._ttl = cache_ttl
        self._stale = min(cache_stale, cache_ttl)
        self._deadline = deadline
        self._scrape_interval = scrape_interval
        self._planner = QueryPlanner(connections)
        self._clock = clock
        self._now = now
        self._snapshots: SingleFlightCache[Snapshot] = SingleFlightCache(
            self._lifetime,
            clock,
            telemetry.of_cache("snapshots"),
            weigh=lambda snapshot: snapshot.weight,
            capacity=int(_SNAPSHOTS_SHARE * max_memory),
        )

    async def statistics(self, sections: frozenset[str] = frozenset(), time: float | None = None) -> Snapshot:
        """The statistics of some sections (all when none is named) at a Unix time in seconds, or now."""
        key = ("statistics", sections, time)
        return await self._get(key, lambda: self._group_statistics(sections), time)

    async def families(self, category: str | None = None, time: float | None = None) -> Snapshot:
        """The families of a category (all when none is named) at a Unix time in seconds, or now."""
        key = ("families", category, time)
        return await self._get(key, lambda: self._group_families(category), time)

    async def probe(self) -> UpstreamError | None:
        """The upstream's current error, or None when it answers."""
        part = BatchPart(("probe",), ((("probe", "vector(1)"),),), 1)
        return (await self._snapshots.get("probe", lambda: self._read("probe", [[part]], None))).outage

    def lease(self, snapshot: Snapshot) -> Lease | None:
        """The lease of a snapshot; None where it is not kept."""
        lease = self._snapshots.lease(snapshot.key) if self._snapshots.peek(snapshot.key) is snapshot else None
        asked_at = snapshot.asked_at
        return lease and replace(lease, age=lambda: self._clock() - asked_at)

    def age(self, snapshot: Snapshot) -> float:
        """Seconds since a snapshot was asked for."""
        return self._clock() - snapshot.asked_at

    def purge(self) -> None:
        """Forget every snapshot; what is under way is not kept either."""
        self._snapshots.clear()

    def close(self) -> None:
        """End what is read for nobody in particular."""
        self._snapshots.close()

    async def _get(
        self, key: Hashable, group: Callable[[], Sequence[Sequence[BatchPart]]], time: float | None
    ) -> Snapshot:
        # Whoever names a moment gets nothing that has aged.
        stale = self._staleness if time is None else lambda _: 0.0
        return await self._snapshots.get(key, lambda: self._read(key, group(), time), stale=stale)

    def _group_statistics(self, sections: frozenset[str]) -> list[list[BatchPart]]:
        """A part per distinct expression, in groups of about equal weight."""
        # Statistics with the same expressions share one part.
        names: dict[tuple[str, ...], list[Statistic]] = {}
        for statistic in self.catalogue.in_sections(sections):
            names.setdefault(tuple(map(self.slots.fill, statistic.choices)), []).append(statistic)
        checks = find_gap_checks(self.catalogue.in_sections(sections), self.slots, self._scrape_interval)
        parts = [
            BatchPart(
                tuple(s.name for s in same),
                tuple(((same[0].name, promql),) for promql in choices),
                same[0].weight,
                next((checks[s.name] for s in same if s.name in checks), None),
            )
            for choices, same in names.items()
        ]
        return self._planner.share_out(parts, min(_STATISTIC_GROUPS, ceil(len(parts) / _EXPRESSIONS_PER_GROUP)))

    def _group_families(self, category: str | None) -> list[list[BatchPart]]:
        """A part per family, in groups; buckets, sum and count of a histogram stay together to be consistent."""
        parts = [
            BatchPart(
                (family.name,),
                tuple(tuple((t.sample, self.slots.fill(t.template)) for t in terms) for terms in family.choices),
                family.weight,
            )
            for family in self.catalogue.in_category(category)
        ]
        first = _CATEGORY_GROUPS if category else _FAMILY_GROUPS
        return self._planner.share_out(parts, self._planner.count_groups(parts, first))

    def _lifetime(self, snapshot: Snapshot) -> float:
        return min(self._ttl, _FAILURE_LIFETIME) if snapshot.disturbed else self._ttl

    def _staleness(self, snapshot: Snapshot) -> float:
        return 0.0 if snapshot.disturbed else self._stale

    async def _read(self, key: Hashable, groups: Sequence[Sequence[BatchPart]], time: float | None) -> Snapshot:
        asked_at = self._clock()
        at = self._now() if time is None else time
        until = asked_at + self._deadline
        parted = [[part.split(self._planner.count_sources(part)) for part in group] for group in groups]
        results = await self._ask([[first for first, _ in group] for group in parted], time, until)
        found = _merge(results)
        if rest := [rest for group in parted for _, rest in group if rest and found[rest.names[0]].is_absent]:
            more = min(len(groups), ceil(len(rest) / _EXPRESSIONS_PER_GROUP))
            results += await self._ask(self._planner.share_out(rest, more), time, until)
        warnings = dict.fromkeys(text for result in results for text in result.warnings)
        return Snapshot(at, _merge(results), tuple(warnings), key, asked_at)

    async def _ask(
        self, groups: Sequence[Sequence[BatchPart]], time: float | None, until: float
    ) -> list["_BatchResult"]:
        """The result of each group, one query each. The planner learns from those that were asked together."""
        run = _BatchRun(self._source, self._telemetry, self._clock, time, until)
        results = await run.query_all(groups)
        self._planner.learn(run.timed, {name: one for name, one in _merge(results).items() if one.error is None})
        return results


class _BatchResult(NamedTuple):
    readings: dict[str, Reading]
    warnings: tuple[str, ...] = ()

    @property
    def was_not_sent(self) -> bool:
        """Whether the circuit breaker refused the batch."""
        return all(isinstance(reading.error, CircuitOpen) for reading in self.readings.values())


def _merge(results: Iterable[_BatchResult]) -> dict[str, Reading]:
    """Every reading; those of a later result take the place of those before."""
    return {name: reading for result in results for name, reading in result.readings.items()}


@dataclass(frozen=True, slots=True)
class _BatchRun:
    """Sends batches for one snapshot together, all at the same evaluation time."""

    source: InstantQueries
    telemetry: Telemetry
    clock: Callable[[], float]
    time: float | None
    # When, by the clock, a refused batch is halved no more: each halving takes another round trip.
    until: float
    timed: list[TimedQuery] = field(default_factory=list)

    async def query_all(self, groups: Sequence[Sequence[BatchPart]]) -> list[_BatchResult]:
        """The result of each group, one query each."""
        results = await asyncio.gather(*map(self.query, groups))
        if all(result.was_not_sent for result in results):
            return results
        # After a pause the circuit breaker lets one group through as its probe and refuses the others, which came
        # before it had succeeded: send those again.
        again = (self.query(group) for group, result in zip(groups, results, strict=True) if result.was_not_sent)
        return [result for result in results if not result.was_not_sent] + await asyncio.gather(*again)

    async def query(self, parts: Sequence[BatchPart]) -> _BatchResult:
        """A reading for every name of the parts; an error becomes a reading, too."""
        try:
            checks = [part.check for part in parts if part.check]
            promql = batch(
                [expression for part in parts for expression in part.expressions()]
                + [(check.name, check.promql) for check in checks]
            )
            begun = self.clock()
            vector = await self.source.instant(promql, self.time)
            self.timed.append(TimedQuery(parts, self.clock() - begun))
            _require_known(parts, vector)
            gaps = [
                check.explain(row[-1])
                for check in checks
                for table in vector.parts.get(check.name, ())
                for row in table.rows
            ]
            return _BatchResult(_to_readings(parts, vector), vector.warnings + tuple(gap for gap in gaps if gap))
        except (QueryRefused, AnswerTooLarge) as exc:
            if len(parts) > 1 and self.clock() < self.until:
                return await self._query_halves(parts)
            log.warning("No value for %s: %s", ", ".join(part.names[0] for part in parts), printable(exc.sentence))
            return _fail_all(parts, exc)
        except UpstreamError as exc:
            return _fail_all(parts, exc)

    async def _query_halves(self, parts: Sequence[BatchPart]) -> _BatchResult:
        self.telemetry.batch_splits.inc()
        half = len(parts) // 2
        left, right = await asyncio.gather(self.query(parts[:half]), self.query(parts[half:]))
        return _BatchResult(left.readings | right.readings, left.warnings + right.warnings)


def _fail_all(parts: Iterable[BatchPart], error: ServiceError) -> _BatchResult:
    return _BatchResult({name: Reading(error=error) for part in parts for name in part.names})


def _require_known(parts: Sequence[BatchPart], vector: Vector) -> None:
    """Raise BadAnswer for a sample of no expression in the batch, which the part label tells."""
    asked = {name for part in parts for name, _ in part.expressions()}
    if not vector.parts.keys() <= asked | {part.check.name for part in parts if part.check}:
        raise BadAnswer("a series that was not asked for")


def _to_readings(parts: Sequence[BatchPart], vector: Vector) -> dict[str, Reading]:
    """The samples of a batch as readings of statistics and families."""
    readings: dict[str, Reading] = {}
    for part in parts:
        readings |= dict.fromkeys(part.names, part.read(vector.parts))
    return readings
