"""H7: whatever our clock says, no point is believed that may still change, and none that was is served."""

from collections.abc import Iterator

import pytest
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache import CacheStatus, RangeQuery

from tests.prometheus_api.seeded_engine import World, world
from tests.range_cache.rig import FRESHNESS, Clock, Rig, rig, told


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("clocks")) as found:
        yield found


class Deployment:
    """A series that goes on in the engine's time, and a cache whose clock is wrong by some seconds."""

    def __init__(self, cache: Rig, engine: World, metric: str) -> None:
        self.cache, self.engine, self.metric = cache, engine, metric
        self.now = self.written = engine.begin
        self.wrong_by = 0

    def go_on(self, seconds: int) -> None:
        self.now += seconds
        times = range(self.written, self.now, 5)
        self.engine.write([({"__name__": self.metric}, 1000 * at, float(at % 97)) for at in times])
        self.written = self.now
        self.set_clocks()

    def set_clocks(self) -> None:
        self.cache.clock.now, self.cache.monotonic.now = self.now + self.wrong_by, self.now

    def ask(self) -> CacheStatus:
        """Ask up to what the engine calls now, and compare."""
        end = 1000 * self.now
        question = RangeQuery(self.metric, TimeRange(1000 * self.engine.begin, end, 5000))
        answer = self.cache.ask(question)
        assert told(answer) == told(self.cache.direct(question))
        return answer.cache_status


@pytest.fixture
def deployment(engine: World, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    metric = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    with rig(engine.url, engine.begin, monotonic=Clock(engine.begin)) as cache:
        found = Deployment(cache, engine, metric)
        found.go_on(300)
        yield found


def test_our_clock_is_ahead_by_more_than_the_freshness(deployment: Deployment) -> None:
    deployment.cache.source.dated = lambda: deployment.now
    deployment.wrong_by = 600
    deployment.set_clocks()
    deployment.cache.restart()

    for _ in range(5):
        deployment.ask()
        deployment.go_on(80)
    assert deployment.ask().result == "partial"


@pytest.mark.parametrize("is_dated", [True, False])
def test_our_clock_jumps_ahead_and_back(deployment: Deployment, *, is_dated: bool) -> None:
    deployment.cache.source.dated = lambda: deployment.now if is_dated else None
    deployment.ask()
    deployment.wrong_by = 3600
    deployment.set_clocks()
    deployment.ask()
    deployment.go_on(80)
    deployment.ask()
    deployment.wrong_by = 0
    deployment.set_clocks()

    assert deployment.ask().result == "partial"
    deployment.go_on(FRESHNESS)
    deployment.ask()


def test_what_a_clock_kept_that_was_ahead_from_the_start_is_forgotten(deployment: Deployment) -> None:
    """Without a Date nobody can tell, until it is set right."""
    deployment.wrong_by = 3600
    deployment.set_clocks()
    deployment.cache.restart()
    deployment.ask()
    deployment.wrong_by = 0
    deployment.go_on(80)

    assert deployment.ask().result == "miss"


def test_points_that_a_clock_gone_back_has_not_reached_are_asked_for(deployment: Deployment) -> None:
    deployment.cache.source.dated = lambda: deployment.now
    deployment.ask()
    # The upstream's alone: nothing is forgotten, and nothing believed that it may write again.
    deployment.cache.source.dated = lambda: deployment.now - 200
    deployment.ask()

    begin, _ = deployment.ask().fetched[0]
    assert begin <= 1000 * (deployment.now - 200 - FRESHNESS) + 5000
