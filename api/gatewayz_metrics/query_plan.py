"""Which expressions are asked, and which of them share a query, planned from what was read before.

An entry of the catalogue with several sources has its samples from the first that has any. A source that had none
before has none most often, and the sources behind the one that had some are not needed: they are asked only when
all before them came back empty, in a second round. Nothing is known at first, so all are asked.

An engine evaluates a query on one core, so much data comes faster by several queries at once. Each further query
costs a round trip and our own work, so little data comes faster by one. How many there are goes by the samples that
were read last, which say the same on a busy machine, where more queries would only make it busier.

What makes up a query goes by time, as samples say little about cost: a quantile of ten thousand series is one sample.
Only whole queries can be timed. A part of one that took longer than the others of its reading is expected to cost
more, so the next plan moves parts away from it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

# Measured: twice as many keep an engine's core busy for about 0.1 s, and a further query costs 3 ms of our own.
_SAMPLES_PER_GROUP = 1500
_MOST_GROUPS = 4
# A reading may have one in so many of the upstream's connections, as several are under way at the same time.
_CONNECTIONS_PER_GROUP = 5
# How many times more, or less, a part may be expected to cost after one reading, as any query may be held up.
_SWAY = 2.0
# No query takes less, whatever a coarse clock says.
_LEAST_SECONDS = 1e-6


class KnownReading(Protocol):
    """What came back for one name."""

    @property
    def size(self) -> int:
        """How many samples."""

    @property
    def choice(self) -> int:
        """The place of the source that had them, among all sources of the entry."""


class PlannedPart(Protocol):
    """Expressions that stay together, named by what they are for."""

    @property
    def names(self) -> tuple[str, ...]:
        """The first is the part's own."""

    @property
    def weight(self) -> float:
        """The cost as far as the expressions tell it, in any unit that adds up."""


P = TypeVar("P", bound=PlannedPart)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TimedQuery:
    """One query that succeeded: its parts, and the seconds that it took."""

    parts: Sequence[PlannedPart]
    seconds: float


class QueryPlanner:
    """Remembers what parts have and cost, and shares them out among queries."""

    def __init__(self, connections: int) -> None:
        """`connections` is how many the upstream allows."""
        self._most = max(1, min(_MOST_GROUPS, connections // _CONNECTIONS_PER_GROUP))
        self._samples: dict[str, int] = {}
        # How many sources to ask, those before the one that had samples included: they go first as soon as they have.
        self._sources: dict[str, int] = {}
        # In units of weight.
        self._costs: dict[str, float] = {}

    def count_groups(self, parts: Iterable[PlannedPart], first: int) -> int:
        """How many queries are best; `first` while some part has never been read."""
        samples = [self._samples.get(part.names[0]) for part in parts]
        if None in samples:
            return min(first, self._most)
        return max(1, min(self._most, sum(filter(None, samples)) // _SAMPLES_PER_GROUP))

    def count_sources(self, part: PlannedPart) -> int:
        """How many of a part's sources to ask first; 0 stands for all."""
        return self._sources.get(part.names[0], 0)

    def share_out(self, parts: Sequence[P], groups: int) -> list[list[P]]:
        """The parts in at most so many groups of about equal cost, none empty."""
        return balance(parts, groups, self._expect)

    def learn(self, queries: Sequence[TimedQuery], readings: Mapping[str, KnownReading]) -> None:
        """Take in the queries of one reading, and what each name has; names whose query failed are not among them."""
        self._samples |= {name: reading.size for name, reading in readings.items()}
        self._sources |= {name: reading.choice + 1 if reading.size else 0 for name, reading in readings.items()}
        expected = [sum(map(self._expect, query.parts)) for query in queries]
        seconds = [max(query.seconds, _LEAST_SECONDS) for query in queries]
        changed: dict[str, float] = {}
        for query, cost, took in zip(queries, expected, seconds, strict=True):
            slower = (took / sum(seconds)) / (cost / sum(expected))
            change = min(_SWAY, max(1 / _SWAY, slower))
            changed |= {part.names[0]: self._expect(part) * change for part in query.parts}
        # They cost as much together as before, so that parts of other readings can be compared with them.
        scale = sum(expected) / sum(changed.values()) if changed else 1.0
        self._costs |= {name: cost * scale for name, cost in changed.items()}

    def _expect(self, part: PlannedPart) -> float:
        # An expression without selectors weighs nothing, and is asked all the same.
        return self._costs.get(part.names[0], max(1.0, part.weight))


def balance(items: Iterable[T], groups: int, weigh: Callable[[T], float]) -> list[list[T]]:
    """The items in at most so many groups of about equal weight, in any unit that adds up; none is empty."""
    shares: list[list[T]] = [[] for _ in range(groups)]
    loads = [0.0] * groups
    for item in sorted(items, key=lambda item: -weigh(item)):
        lightest = loads.index(min(loads))
        shares[lightest].append(item)
        loads[lightest] += weigh(item)
    return [share for share in shares if share]
