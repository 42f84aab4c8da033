"""Queries are planned from what the queries before took: an engine whose costs the test knows, and its clock."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import mean

import pytest
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import Unreachable
from gatewayz_metrics.query import QueryLayer, Snapshot
from gatewayz_metrics.query_plan import QueryPlanner, TimedQuery
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.response import SampleTable, Vector
from hypothesis import given
from hypothesis import strategies as st

CATALOGUE = load()
FAMILIES = {family.name: family for family in CATALOGUE.families}
FAMILY_OF = {term.sample: family.name for family in CATALOGUE.families for term in family.terms}
_PART = re.compile(r'"_part","([^"#]+)')
_SOURCE = re.compile(r'"_part","([^"#:]+)#?(\d*)"')
SEVERAL = {statistic.name: len(statistic.choices) for statistic in CATALOGUE.statistics if statistic.fallbacks}


@dataclass
class Timed:
    """An engine with so many seconds and samples for each family, which keeps what it was asked."""

    seconds: Callable[[str], float] = lambda _family: 0.01
    samples: Callable[[str], int] = lambda _family: 1
    now: float = 0.0
    is_down: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002
        names = tuple(dict.fromkeys(_PART.findall(query)))
        families = tuple(dict.fromkeys(FAMILY_OF[name] for name in names))
        self.asked.append(families)
        self.now += sum(map(self.seconds, families))
        if self.is_down:
            raise Unreachable("prometheus:9090")
        # A family's samples are those of its first term.
        firsts = {FAMILY_OF[name]: name for name in reversed(names)}
        found = ((name, number) for family, name in firsts.items() for number in range(self.samples(family)))
        rows: dict[str, list[tuple[str, ...]]] = {}
        for name, number in found:
            rows.setdefault(name, []).append((f"{number}", "1"))
        return Vector({name: [SampleTable(("number",), of_name)] for name, of_name in rows.items()})

    def clock(self) -> float:
        return self.now


def layer_over(source: Timed, connections: int = 20) -> QueryLayer:
    return QueryLayer(CATALOGUE, source, Telemetry(), cache_ttl=0, connections=connections, clock=source.clock)


def readings(
    source: Timed, category: str | None, times: int, connections: int = 20
) -> tuple[list[list[tuple[str, ...]]], list[Snapshot]]:
    """The groups of each reading, one after the other, and what was read."""

    async def read() -> tuple[list[list[tuple[str, ...]]], list[Snapshot]]:
        layer = layer_over(source, connections)
        groups: list[list[tuple[str, ...]]] = []
        found = []
        for _ in range(times):
            begun = len(source.asked)
            found.append(await layer.families(category))
            groups.append(source.asked[begun:])
        return groups, found

    return asyncio.run(read())


def counts(samples: int, category: str | None, connections: int = 20) -> list[int]:
    """How many queries each reading takes where all families together have so many samples."""
    first, *others = [family.name for family in CATALOGUE.in_category(category)]
    each = samples // len(others)
    source = Timed(samples=lambda name: samples - each * len(others) if name == first else each)
    return [len(groups) for groups in readings(source, category, 3, connections)[0]]


@pytest.mark.parametrize(
    ("samples", "category", "queries"),
    [
        pytest.param(0, "models", [1, 1, 1], id="nothing"),
        pytest.param(2999, "models", [1, 1, 1], id="a small category"),
        pytest.param(3000, "models", [1, 2, 2], id="a larger one"),
        pytest.param(30_000, "models", [1, 4, 4], id="a large one"),
        pytest.param(2999, None, [2, 1, 1], id="all of little"),
        pytest.param(30_000, None, [2, 4, 4], id="all of much"),
    ],
)
def test_much_is_read_by_more_queries(samples: int, category: str | None, queries: list[int]) -> None:
    assert counts(samples, category) == queries


@pytest.mark.parametrize(("connections", "most"), [(1, 1), (9, 1), (10, 2), (15, 3), (20, 4), (1000, 4)])
def test_few_connections_allow_few_queries(connections: int, most: int) -> None:
    assert counts(30_000, None, connections=connections) == [min(2, most), most, most]


def test_what_one_page_has_is_known_for_another() -> None:
    async def read() -> list[int]:
        source = Timed(samples=lambda _: 500)
        layer = layer_over(source)
        found = []
        for category in (*CATALOGUE.categories, None):
            begun = len(source.asked)
            await layer.families(category)
            found.append(len(source.asked) - begun)
        return found

    assert asyncio.run(read())[-1] == 4


def test_queries_come_to_cost_about_the_same() -> None:
    """Costs that no weight tells: the first families in the alphabet are the slowest."""
    rank = {name: number for number, name in enumerate(sorted(FAMILIES))}

    def cost(name: str) -> float:
        return 0.2 * 0.8 ** rank[name]

    groups, _ = readings(Timed(cost, lambda _: 200), None, 60)
    worst = [max(sum(map(cost, group)) for group in each) / sum(map(cost, FAMILIES)) for each in groups]

    # The costliest alone is a fifth of all, and a quarter each would be perfect.
    assert worst[0] > 0.5
    assert mean(worst[-20:]) < 0.3
    assert max(worst[-20:]) < 0.35


def test_every_plan_reads_the_same_and_keeps_histograms_together() -> None:
    slow = Timed(lambda name: 0.3 if "duration" in name else 0.001, lambda _: 200)
    groups, found = readings(slow, None, 20)

    assert len({frozenset(each) for each in groups}) > 2
    for each in groups:
        asked = [name for group in each for name in group]
        assert sorted(asked) == sorted(FAMILIES)
    assert all(snapshot.readings == found[0].readings for snapshot in found)


def test_a_busy_engine_is_not_asked_more_often() -> None:
    groups, _ = readings(Timed(lambda _: 9.0), "models", 5)

    assert [len(each) for each in groups] == [1] * 5


def test_a_failure_teaches_nothing() -> None:
    async def read() -> list[int]:
        source = Timed(samples=lambda _: 500)
        layer = layer_over(source)
        counted = []
        for is_down in (True, False, True, False):
            source.is_down = is_down
            begun = len(source.asked)
            await layer.families()
            counted.append(len(source.asked) - begun)
        return counted

    assert asyncio.run(read()) == [2, 2, 4, 4]


def test_costs_stay_what_they_are_together() -> None:
    """However long a service runs: the planner's numbers neither vanish nor overflow."""
    planner = QueryPlanner(20)
    parts = [Part((f"p{number}",), number) for number in range(1, 9)]
    for number in range(5000):
        groups = planner.share_out(parts, 4)
        planner.learn([TimedQuery(group, 1.0 + (number * place) % 7) for place, group in enumerate(groups)], {})

    assert sum(map(planner._expect, parts)) == pytest.approx(36)


@dataclass(frozen=True)
class Part:
    names: tuple[str, ...]
    weight: float


def test_the_first_plan_goes_by_weight_and_weightless_parts_are_asked_too() -> None:
    parts = [Part((f"p{weight}",), weight) for weight in (0, 1, 10, 3, 3, 2, 7)]
    planner = QueryPlanner(20)
    planner.learn([TimedQuery([Part(("constant",), 0)], 0.1)], {})

    shares = planner.share_out(parts, 2)
    assert sorted(sum(part.weight for part in share) for share in shares) == [12, 14]
    assert sorted(part.names[0] for share in shares for part in share) == sorted(part.names[0] for part in parts)


@dataclass
class Sources:
    """An engine that has samples for some sources of each statistic, and keeps which it was asked for."""

    present: dict[str, set[int]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    is_down: bool = False

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002
        asked = [(name, int(choice or 0)) for name, choice in _SOURCE.findall(query)]
        self.asked += asked
        if self.is_down:
            raise Unreachable("prometheus:9090")
        found = [(name, choice) for name, choice in asked if choice in self.present.get(name, {0})]
        return Vector(
            {f"{name}#{choice}" if choice else name: [SampleTable((), [(f"{choice}",)])] for name, choice in found}
        )


@given(st.lists(st.dictionaries(st.sampled_from(sorted(SEVERAL)), st.sets(st.integers(0, 4))), max_size=6))
def test_the_first_source_with_samples_answers_whatever_was_there_before(history: list[dict[str, set[int]]]) -> None:
    async def read() -> None:
        source = Sources()
        layer = QueryLayer(CATALOGUE, source, Telemetry(), cache_ttl=0)
        for present in history:
            source.present = present
            found = (await layer.statistics()).readings
            for name, sources in SEVERAL.items():
                has = present.get(name, {0}) & set(range(sources))
                assert found[name].value == (f"{min(has)}" if has else None), name

    asyncio.run(read())


def test_costs_stay_what_they_are_together_over_second_rounds() -> None:
    """A part that is asked twice for one reading is one part all the same."""

    async def read() -> tuple[float, float]:
        source = Sources()
        layer = QueryLayer(CATALOGUE, source, Telemetry(), cache_ttl=0)
        parts = [part for group in layer._group_statistics(frozenset()) for part in group]
        before = sum(map(layer._planner._expect, parts))
        for number in range(50):
            source.present = {name: {number % 2} for name in SEVERAL}
            await layer.statistics()
        return before, sum(map(layer._planner._expect, parts))

    before, after = asyncio.run(read())
    assert after == pytest.approx(before)


def test_sources_behind_the_one_that_answers_are_not_asked() -> None:
    name, sources = max(SEVERAL.items(), key=lambda item: item[1])
    everywhere = list(range(sources))

    async def read() -> list[list[int]]:
        source = Sources()
        layer = QueryLayer(CATALOGUE, source, Telemetry(), cache_ttl=0)
        rounds = []
        for present, is_down in (
            ({1, 3}, False),
            ({1, 3}, False),
            ({0, 1}, False),
            ({0}, False),
            ({2}, False),
            ({2}, True),
            ({2}, False),
            (set(), False),
            (set(), False),
        ):
            source.present, source.is_down = {name: present}, is_down
            source.asked.clear()
            await layer.statistics()
            rounds.append([choice for asked, choice in source.asked if asked == name])
        return rounds

    assert asyncio.run(read()) == [
        everywhere,  # nothing is known yet
        [0, 1],  # the one that answers, and the one before it, which would go first
        [0, 1],
        [0],
        everywhere,  # the first is empty: the others in a second round
        [0, 1, 2],  # no answer tells nothing, and is no reason to ask for more
        [0, 1, 2],
        everywhere,
        everywhere,
    ]
