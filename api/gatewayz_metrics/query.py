"""The query layer: questions in the catalogue's words, answers as readings with a state.

Statistics and families travel joined in few instant queries. A join that the upstream
refuses is halved until only the guilty expression is left, so one bad expression loses
its own value and no other.
"""

import asyncio
import logging
import time as clocks
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import NamedTuple, TypeVar

from gatewayz_metrics.catalogue import Catalogue, Statistic
from gatewayz_metrics.errors import AnswerTooLarge, BadAnswer, CircuitOpen, QueryRefused, ServiceError, UpstreamError
from gatewayz_metrics.promql.build import PART_LABEL, Slots, balance, batch
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.client import InstantQueries
from gatewayz_metrics.upstream.response import Sample
from gatewayz_metrics.upstream.single_flight import SingleFlightCache

log = logging.getLogger(__name__)

# An engine evaluates one query on one core: measured, four joins in parallel beat one.
_STATISTIC_GROUPS = 4
_STATISTICS_PER_GROUP = 6
_FAMILY_GROUPS = 2  # for all of them; one category is one query

# An answer with a failure in it is reused too, or an outage would be asked about by every
# caller; but only for as long as nobody minds.
_FAILURE_LIFETIME = 1.0

T = TypeVar("T")


class NamedSample(NamedTuple):
    """One sample under the name that the catalogue gives it; the value is the engine's text."""

    name: str
    labels: dict[str, str]
    value: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to one question: samples, or an error, or (with neither) no data."""

    samples: tuple[NamedSample, ...] = ()
    error: ServiceError | None = None


@dataclass(frozen=True)
class Snapshot:
    """Readings that were taken together, at a Unix time in seconds."""

    at: float
    readings: dict[str, Reading]
    warnings: tuple[str, ...] = ()
    _rendered: dict[Hashable, bytes] = field(default_factory=dict, compare=False)

    @cached_property
    def outage(self) -> UpstreamError | None:
        """The upstream's failure, when it is the reason why nothing at all could be read."""
        errors = [reading.error for reading in self.readings.values()]
        failures = [error for error in errors if isinstance(error, UpstreamError)]
        return failures[0] if failures and len(failures) == len(errors) else None

    @property
    def disturbed(self) -> bool:
        """Whether the upstream failed for some reading; a refused expression does not count."""
        return any(isinstance(reading.error, UpstreamError) for reading in self.readings.values())

    def once(self, form: Hashable, render: Callable[[], bytes]) -> bytes:
        """What `render` makes of this snapshot, made once per form."""
        if form not in self._rendered:
            self._rendered[form] = render()
        return self._rendered[form]


@dataclass(frozen=True, slots=True)
class BatchPart:
    """What belongs into one query: the names share a fate and come from the same instant."""

    names: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]
    weight: int


class QueryLayer:
    """Answers for a catalogue from one upstream."""

    def __init__(
        self,
        catalogue: Catalogue,
        source: InstantQueries,
        telemetry: Telemetry,
        *,
        selector: str = "",
        cache_ttl: float = 5.0,
        deadline: float = 8.0,
        now: Callable[[], float] = clocks.time,
    ) -> None:
        self.catalogue = catalogue
        self.slots = Slots(selector, catalogue.window)
        self._source = source
        self._telemetry = telemetry
        self._ttl = cache_ttl
        self._deadline = deadline
        self._now = now
        self._snapshots: SingleFlightCache[Snapshot] = SingleFlightCache(
            self._lifetime, clocks.monotonic, telemetry.of_cache("snapshots")
        )

    async def statistics(self, sections: frozenset[str] = frozenset(), time: float | None = None) -> Snapshot:
        """The statistics of some sections (all when none is named) at a Unix time, or now."""
        return await self._snapshots.get(
            ("statistics", sections, time), lambda: self._take(self._of_statistics(sections), time)
        )

    async def families(self, category: str | None = None, time: float | None = None) -> Snapshot:
        """The families of a category (all when none is named) at a Unix time, or now."""
        return await self._snapshots.get(
            ("families", category, time), lambda: self._take(self._of_families(category), time)
        )

    async def probe(self) -> UpstreamError | None:
        """Why the upstream cannot answer right now, or None when it can."""
        question = BatchPart(("probe",), (("probe", "vector(1)"),), 1)
        return (await self._snapshots.get("probe", lambda: self._take([[question]], None))).outage

    def _of_statistics(self, sections: frozenset[str]) -> list[list[BatchPart]]:
        """A question per expression, in groups: two statistics that ask the same are asked once."""
        names: dict[str, list[Statistic]] = {}
        for statistic in self.catalogue.in_sections(sections):
            names.setdefault(self.slots.fill(statistic.expr), []).append(statistic)
        questions = [
            BatchPart(tuple(s.name for s in same), ((same[0].name, promql),), same[0].weight)
            for promql, same in names.items()
        ]
        return balance(questions, min(_STATISTIC_GROUPS, ceil(len(questions) / _STATISTICS_PER_GROUP)))

    def _of_families(self, category: str | None) -> list[list[BatchPart]]:
        """A question per family, in groups: parts of a histogram must be of one instant."""
        questions = [
            BatchPart(
                (family.name,),
                tuple((term.sample, self.slots.fill(term.template)) for term in family.terms),
                family.weight,
            )
            for family in self.catalogue.in_category(category)
        ]
        return balance(questions, 1 if category else _FAMILY_GROUPS)

    def _lifetime(self, snapshot: Snapshot) -> float:
        return min(self._ttl, _FAILURE_LIFETIME) if snapshot.disturbed else self._ttl

    async def _take(self, groups: Sequence[Sequence[BatchPart]], time: float | None) -> Snapshot:
        at = self._now() if time is None else time
        one_round = _BatchRun(self._source, self._telemetry, time, clocks.monotonic() + self._deadline)
        answers = await asyncio.gather(*(one_round.ask(group) for group in groups))
        if not all(answer.suspended for answer in answers):
            # One group was the probe that ended a pause, and the others came too early to know.
            again = (one_round.ask(group) for group, answer in zip(groups, answers, strict=True) if answer.suspended)
            answers = [answer for answer in answers if not answer.suspended] + await asyncio.gather(*again)
        readings = {name: reading for answer in answers for name, reading in answer.readings.items()}
        warnings = dict.fromkeys(text for answer in answers for text in answer.warnings)
        return Snapshot(at, readings, tuple(warnings))


class _BatchResult(NamedTuple):
    readings: dict[str, Reading]
    warnings: tuple[str, ...] = ()

    @property
    def suspended(self) -> bool:
        """Whether nothing was asked, because the upstream is given a pause."""
        return all(isinstance(reading.error, CircuitOpen) for reading in self.readings.values())


@dataclass(frozen=True, slots=True)
class _BatchRun:
    """One group of questions on its way to the upstream and back."""

    source: InstantQueries
    telemetry: Telemetry
    time: float | None
    # When to stop looking for the guilty one: halving asks again and again, a caller waits but once.
    until: float

    async def ask(self, questions: Sequence[BatchPart]) -> _BatchResult:
        """Every name's reading; failures are readings too."""
        try:
            vector = await self.source.instant(batch(part for q in questions for part in q.parts), self.time)
            return _BatchResult(_split_by_part(questions, vector.samples), vector.warnings)
        except (QueryRefused, AnswerTooLarge) as exc:
            if len(questions) > 1 and clocks.monotonic() < self.until:
                return await self._apart(questions)
            log.warning("No value for %s: %s", ", ".join(q.names[0] for q in questions), exc.sentence)
            return _all_failed(questions, exc)
        except UpstreamError as exc:
            return _all_failed(questions, exc)

    async def _apart(self, questions: Sequence[BatchPart]) -> _BatchResult:
        self.telemetry.batch_splits.inc()
        half = len(questions) // 2
        left, right = await asyncio.gather(self.ask(questions[:half]), self.ask(questions[half:]))
        return _BatchResult(left.readings | right.readings, left.warnings + right.warnings)


def _all_failed(questions: Iterable[BatchPart], error: ServiceError) -> _BatchResult:
    return _BatchResult({name: Reading(error=error) for question in questions for name in question.names})


def _split_by_part(questions: Sequence[BatchPart], samples: Iterable[Sample]) -> dict[str, Reading]:
    """The joined answer, sample by sample to the question it belongs to."""
    found: dict[str, list[NamedSample]] = {part: [] for question in questions for part, _ in question.parts}
    for sample in samples:
        labels = sample.labels
        labels.pop("__name__", None)
        part = labels.pop(PART_LABEL, "")
        if part not in found:
            raise BadAnswer("a series that was not asked for")
        found[part].append(NamedSample(part, labels, sample.value))
    readings: dict[str, Reading] = {}
    for question in questions:
        parts = dict.fromkeys(part for part, _ in question.parts)
        reading = Reading(tuple(measured for part in parts for measured in found[part]))
        readings |= dict.fromkeys(question.names, reading)
    return readings
