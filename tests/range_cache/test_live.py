"""Any questions in any order over an engine that goes on taking samples: each answer is the engine's own.

Time is simulated: samples are written with the times at which they would have come, and the cache's
clocks follow them, so minutes of a live system pass in milliseconds. Our wall clock may be wrong and may
jump; the Date of answers is the engine's clock, absent, or ahead of it.
"""

import itertools
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache import CacheStatus, RangeQuery
from gatewayz_metrics.range_cache.grid import StepGrid
from gatewayz_metrics.range_cache.lookup import CacheKey
from gatewayz_metrics.range_cache.pieces import SlowQueries
from gatewayz_metrics.upstream.request import Pairs
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.prometheus_api.seeded_engine import World, world
from tests.range_cache.rig import FRESHNESS, TTL, Clock, Rig, rig, told
from tests.support.remote_write import Sample

SCRAPE = 5
HISTORY = 600
TINY = 20

TEMPLATES = [
    "live{%s}",
    "rate(live_total{%s}[30s])",
    "increase(live_total{%s}[1m])",
    "sum by (s) (live{%s})",
    "sum(rate(live_total{%s}[20s]))",
    "avg(live{%s})",
    "topk(1, live_total{%s})",
    "count_values('v', live{%s} > bool 0)",
    "absent(live{%s,s='mortal'})",
    "live{%s,s='mortal'} or vector(0)",
    "max_over_time(live{%s}[40s])",
    "avg_over_time(live{%s}[1m:7s])",
    "max_over_time(live{%s}[1m:])",
    "live{%s} offset 20s",
    "live{%s} offset -20s",
    "live{%s} offset -45s",
    "live{%s} @ %d",
    "live{%s} - live{%s} @ start()",
    "timestamp(live{%s})",
    "time() - 1.5e9",
    "minute()",
    "nothing{%s}",
    "live{%s} / 0",
    "label_replace(live{%s}, 'dst', '$1', 's', '(.*)')",
    "sort_desc(live{%s})",
    "1 +",
    "rate(live{%s})",
]
STEPS = [500, 1000, 1500, 5000, 7000, 15_000, 60_000]
EXTRAS: list[Pairs] = [
    (),
    (),
    (),
    (("timeout", "5m"),),
    (("lookback_delta", "8s"),),
    (("stats", "all"),),
    (("x", "y"),),
]

_RUNS = itertools.count()
_WORLD: list[World] = []
_RIG: list[Rig] = []


class Live(RuleBasedStateMachine):
    """One service, one engine, some minutes of time."""

    @initialize(
        templates=st.lists(st.sampled_from(TEMPLATES), min_size=1, max_size=2),
        steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=2),
        extras=st.lists(st.sampled_from(EXTRAS), min_size=1, max_size=2),
        # How answers are dated, and by how many seconds our clock is ahead: one of the two is always right or behind.
        dates=st.sampled_from([("well", 0), ("well", 500), ("well", -100), ("not", 0), ("ahead", 0), ("ahead", -50)]),
    )
    def begin(self, templates: list[str], steps: list[int], extras: list[Pairs], dates: tuple[str, float]) -> None:
        # Few questions, so that most of them were asked before.
        self.templates, self.steps, self.extras = templates, steps, extras
        self.world, self.rig = _WORLD[0], _RIG[0]
        # Examples share the engine and keep apart by a label.
        self.matcher = f'run="{os.getpid()}-{next(_RUNS)}"'
        self.begun = self.world.begin - 36_000
        self.now = float(self.begun)
        self.known: dict[CacheKey, dict[int, float]] = {}
        self.dated, self.wrong_by = dates
        self.rig.source.dated = self._date
        self._set_clocks()
        self._restart()
        self._pass(HISTORY)

    def _date(self) -> float | None:
        return None if self.dated == "not" else self.now + (400 if self.dated == "ahead" else 0)

    def _set_clocks(self) -> None:
        self.rig.clock.now, self.rig.monotonic.now = self.now + self.wrong_by, self.now

    def _restart(self) -> None:
        self.rig.restart()
        self.known.clear()
        self.jumps = 0

    def _pass(self, seconds: float) -> None:
        start, self.now = self.now, self.now + seconds
        first = math.ceil(start / SCRAPE) * SCRAPE
        found = [one for at in range(first, math.ceil(self.now), SCRAPE) for one in self._scrape(at)]
        if found:
            self.world.write(found)
        self._set_clocks()

    def _scrape(self, at: int) -> Iterator[Sample]:
        t = at - self.begun
        run = self.matcher[5:-1]
        yield {"__name__": "live", "run": run, "s": "wave"}, 1000 * at, math.sin(t / 50)
        yield (
            {"__name__": "live", "run": run, "s": "odd", "ü": "☃"},
            1000 * at + 137,
            [math.inf, math.nan, 1e21, 3][t // 5 % 4],
        )
        if t % 200 < 120:
            yield {"__name__": "live", "run": run, "s": "mortal"}, 1000 * at, float(t)
        yield {"__name__": "live_total", "run": run, "s": "resets"}, 1000 * at, float(t % 300)
        yield {"__name__": "live_total", "run": run, "s": "steady"}, 1000 * at, t / 3

    @rule(seconds=st.floats(0.5, 120))
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @rule(age=st.floats(1, FRESHNESS - 6))
    def a_sample_comes_late(self, age: float) -> None:
        """Within the freshness nothing is believed for good."""
        self._late(age)

    @rule(age=st.floats(FRESHNESS, 500))
    def a_sample_comes_very_late(self, age: float) -> None:
        """Beyond it the lifetime says how long that can go unseen."""
        self._late(age)
        self._pass(TTL + 1)

    def _late(self, age: float) -> None:
        at = int((self.now - age) * 1000)
        self.world.write([({"__name__": "live", "run": self.matcher[5:-1], "s": "late"}, at, age)])

    @rule(wrong_by=st.sampled_from([-3600, -70, 0, 0, 0, 70, 500, 3600]), data=st.data())
    def our_clock_jumps(self, wrong_by: float, data: st.DataObject) -> None:
        """Where answers have no true Date, a jump ahead is only not believed while the service runs."""
        before, self.wrong_by = self.wrong_by, wrong_by if self.dated != "ahead" else min(0, wrong_by)
        self._set_clocks()
        if data.draw(st.booleans()):
            self._ask([self._question(data)])
        if data.draw(st.booleans()):
            self.wrong_by = before
            self._set_clocks()

    @rule()
    def the_service_restarts(self) -> None:
        if self.dated == "not":
            self.wrong_by = min(0, self.wrong_by)
            self._set_clocks()
        self._restart()

    @rule()
    def everything_is_purged(self) -> None:
        self.rig.ranges.purge()
        self.known.clear()

    @rule(data=st.data())
    def somebody_wants_nothing_kept(self, data: st.DataObject) -> None:
        question = replace(self._question(data), renew=True)
        self._ask([question])
        assert self.rig.source.calls

    @rule(data=st.data(), number=st.integers(1, 4))
    def somebody_asks(self, data: st.DataObject, number: int) -> None:
        """One question, or several at once; panels ask the same in several ranges."""
        self._ask([self._question(data) for _ in range(number)])

    @rule(data=st.data(), pauses=st.lists(st.floats(1, 70), min_size=2, max_size=6))
    def a_dashboard_refreshes(self, data: st.DataObject, pauses: list[float]) -> None:
        """The same question again and again while the samples come in, some of them late."""
        question, asked_at = self._question(data), self.now
        for pause in pauses:
            self._pass(pause)
            if pause > 35:
                self._late(pause - 30)
            first = question.range
            moved = int(self.now - asked_at) * 1000 // first.step_ms * first.step_ms
            moved_range = TimeRange(first.start_ms + moved, first.end_ms + moved, first.step_ms)
            self._ask([replace(question, range=moved_range)])

    def _ask(self, questions: list[RangeQuery]) -> None:
        self.rig.source.calls.clear()
        begun = self.rig.source.trusted.now()
        answers = self.rig.ask_all(questions)
        calls = list(self.rig.source.calls)
        for question, answer in zip(questions, answers, strict=True):
            expected = told(self.rig.direct(question))
            assert_alike(told(answer), expected, (question, answer.cache_status))
            assert_on_grid(told(answer)[1], question)
        if len(questions) == 1 and answers[0].status == 200:
            self._assert_no_needless_call(questions[0], answers[0].cache_status, len(calls), begun)

    def _question(self, data: st.DataObject) -> RangeQuery:
        template = data.draw(st.sampled_from(self.templates))
        fixed = self.begun + data.draw(st.sampled_from([60, 300, 590, 700]))
        query = template.replace("%s", self.matcher).replace("%d", str(fixed))
        step = data.draw(st.sampled_from(self.steps))
        # Dashboards ask on multiples of the step; scripts ask anywhere.
        end = int(self.now * 1000) + data.draw(st.sampled_from([0, 0, 0, -20_000, -90_000, 61_000]))
        length = data.draw(st.sampled_from([0, 30_000, 120_000, 300_000, 301_234]))
        start = end - length
        if data.draw(st.booleans()):
            start, end = start // step * step, end // step * step
        return RangeQuery(query, TimeRange(start, end, step), data.draw(st.sampled_from(self.extras)))

    def _assert_no_needless_call(self, question: RangeQuery, status: CacheStatus, calls: int, begun: float) -> None:
        """What was read, is settled and still believed is not read again, but for scraps and mostly missing ranges."""
        trusted = self.rig.source.trusted
        if self.jumps != trusted.jumps:
            self.jumps = trusted.jumps
            self.known.clear()
        grid = StepGrid.of(question.range)
        lookahead = 45_000 if "offset -45s" in question.query else 20_000 if "offset -20s" in question.query else 0
        # The Date of an answer may correct the time after the question.
        settled, newest = (
            grid.index(int(moment * 1000) - FRESHNESS * 1000 - lookahead)
            for moment in (begun, min(begun, trusted.now()))
        )
        known = self.known.setdefault(CacheKey(question.query, grid, question.extra, question.tenant), {})
        first, last = grid.index(question.range.start_ms), grid.index(question.range.end_ms)
        believed = {k for k, at in known.items() if self.now - at < TTL * 7 / 16 and first <= k <= min(last, settled)}
        if question.renew:
            believed = set()
        asked = {k for begin, end in status.fetched for k in range(grid.index(begin), grid.index(end) + 1)}
        assert calls == len(status.fetched)
        if status.result == "hit":
            assert not asked
        if status.result == "partial":
            needless = sorted(k for k in asked & believed if _run_length(believed, k) >= TINY)
            assert not needless, (question, status, grid, needless, settled, newest)
        if believed == set(range(first, last + 1)):
            assert status.result == "hit"
        if status.result in ("miss", "partial"):
            known |= dict.fromkeys((k for k in asked if k <= newest), self.now)

    @invariant()
    def what_is_accounted_for_is_within_the_bound(self) -> None:
        if _RIG:
            assert 0 <= _RIG[0].ranges.size <= _RIG[0].settings.cache_range_bytes


def _run_length(known: set[int], k: int) -> int:
    below = next(i for i in itertools.count(1) if k - i not in known)
    above = next(i for i in itertools.count(1) if k + i not in known)
    return below + above - 1


def assert_alike(found: tuple[int, Any], expected: tuple[int, Any], about: object) -> None:
    """The same JSON; sums over series may differ in a last digit, as engines add in no fixed order."""
    if found == expected:
        return
    assert found[0] == expected[0], about
    assert found[1].keys() == expected[1].keys(), about
    ours, theirs = (answer[1].get("data", {}).get("result") for answer in (found, expected))
    assert [one["metric"] for one in ours] == [one["metric"] for one in theirs], about
    for mine, its in zip(ours, theirs, strict=True):
        assert [at for at, _ in mine["values"]] == [at for at, _ in its["values"]], about
        values, truth = ([float(value) for _, value in one["values"]] for one in (mine, its))
        assert values == pytest.approx(truth, rel=1e-14, nan_ok=True), about


def assert_on_grid(document: Any, question: RangeQuery) -> None:
    for series in document.get("data", {}).get("result", ()):
        at = [round(1000 * moment) for moment, _ in series["values"]]
        assert at == sorted(set(at))
        assert all(question.range.start_ms <= moment <= question.range.end_ms for moment in at)
        assert all((moment - question.range.start_ms) % question.range.step_ms == 0 for moment in at)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with world(tmp_path_factory.mktemp("live")) as found, rig(found.url, time.time(), monotonic=Clock(0)) as cache:
        _WORLD.append(found)
        _RIG.append(cache)
        yield
        _WORLD.clear()
        _RIG.clear()


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Live,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )


@pytest.mark.usefixtures("live")
def test_every_answer_is_the_engines_own() -> None:
    _run(examples=25, steps=20)


@pytest.mark.usefixtures("live")
def test_every_answer_is_the_engines_own_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every query had timed out before: each gap is asked for in pieces."""
    monkeypatch.setattr(SlowQueries, "points_at_once", lambda _slow, _key: 7)
    # A gap is several calls then.
    monkeypatch.setattr(Live, "_assert_no_needless_call", lambda *_: None)
    _run(examples=8, steps=20)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("live")
def test_every_answer_is_the_engines_own_for_long() -> None:
    _run(examples=1000, steps=40)
