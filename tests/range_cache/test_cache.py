"""Each rule of the cache on its own, over a real engine and a clock that the test moves."""

from collections.abc import Iterator

import pytest
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache import RangeQuery

from tests.prometheus_api.seeded_engine import World, world
from tests.range_cache.rig import FRESHNESS, TTL, Rig, rig, told


@pytest.fixture(scope="module")
def engine_with_writes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("rules")) as found:
        yield found


@pytest.fixture
def cache(engine_with_writes: World, request: pytest.FixtureRequest) -> Iterator[Rig]:
    begin = engine_with_writes.begin
    # Every test has a series of its own that is 5 minutes long.
    metric = metric_of(request)
    engine_with_writes.write([({"__name__": metric}, 1000 * at, at) for at in range(begin, begin + 300, 5)])
    with rig(engine_with_writes.url, begin + 300) as found:
        yield found


def metric_of(request: pytest.FixtureRequest) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in request.node.name)


def ask(cache: Rig, world: World, query: str, *, last: int = 300) -> str:
    """Compare with the engine; how the cache answered."""
    question = RangeQuery(query, TimeRange(1000 * world.begin, 1000 * (world.begin + last), 5000))
    answer = cache.ask(question)
    assert told(answer) == told(cache.direct(question))
    return answer.cache_status.result


def test_points_within_the_freshness_are_always_asked_for(
    cache: Rig, engine_with_writes: World, request: pytest.FixtureRequest
) -> None:
    metric = metric_of(request)
    ask(cache, engine_with_writes, metric)
    engine_with_writes.write([({"__name__": metric, "late": "yes"}, 1000 * (engine_with_writes.begin + 300 - 20), 1.0)])

    assert ask(cache, engine_with_writes, metric) == "partial"


def test_points_that_look_ahead_settle_later(
    cache: Rig, engine_with_writes: World, request: pytest.FixtureRequest
) -> None:
    metric = f"{metric_of(request)} offset -60s"
    ask(cache, engine_with_writes, metric)
    engine_with_writes.write([({"__name__": metric_of(request)}, 1000 * (engine_with_writes.begin + 300), 7.0)])

    assert ask(cache, engine_with_writes, metric) == "partial"


def test_a_fixed_time_that_may_change_is_not_believed(
    cache: Rig, engine_with_writes: World, request: pytest.FixtureRequest
) -> None:
    metric, at = metric_of(request), engine_with_writes.begin + 300
    query = f"{metric} @ {at}"
    ask(cache, engine_with_writes, query)
    engine_with_writes.write([({"__name__": metric}, 1000 * at, 7.0)])

    assert ask(cache, engine_with_writes, query) == "bypass"


def test_samples_that_come_later_than_anybody_thought_are_seen_after_the_lifetime(
    cache: Rig, engine_with_writes: World, request: pytest.FixtureRequest
) -> None:
    metric = metric_of(request)
    ask(cache, engine_with_writes, metric, last=200)
    engine_with_writes.write([({"__name__": metric, "late": "very"}, 1000 * (engine_with_writes.begin + 100), 1.0)])
    cache.clock.now += TTL + 1

    assert ask(cache, engine_with_writes, metric, last=200) == "miss"


def test_deleted_samples_are_gone_after_a_purge(
    cache: Rig, engine_with_writes: World, request: pytest.FixtureRequest
) -> None:
    metric = metric_of(request)
    ask(cache, engine_with_writes, metric, last=200)
    assert ask(cache, engine_with_writes, metric, last=200) == "hit"
    engine_with_writes.write([({"__name__": metric, "backfill": "1"}, 1000 * (engine_with_writes.begin + 100), 1.0)])
    cache.ranges.purge()

    assert ask(cache, engine_with_writes, metric, last=200) == "miss"


@pytest.mark.parametrize("extra", [(("lookback_delta", "1s"),), (("timeout", "9s"),), (("unheard", "of"),)])
def test_other_parameters_make_another_question(
    cache: Rig, engine_with_writes: World, request: pytest.FixtureRequest, extra: tuple[tuple[str, str], ...]
) -> None:
    begin = 1000 * engine_with_writes.begin
    plain = RangeQuery(metric_of(request), TimeRange(begin, begin + 200_000, 2000))
    other = RangeQuery(metric_of(request), TimeRange(begin, begin + 200_000, 2000), extra)
    cache.ask(plain)

    answer = cache.ask(other)

    assert answer.cache_status.result == "miss"
    assert told(answer) == told(cache.direct(other))


def test_a_question_past_the_end_of_the_data_waits_for_the_data(
    cache: Rig, engine_with_writes: World, request: pytest.FixtureRequest
) -> None:
    metric = metric_of(request)
    ask(cache, engine_with_writes, metric, last=500)
    engine_with_writes.write(
        [
            ({"__name__": metric}, 1000 * at, 1.0)
            for at in range(engine_with_writes.begin + 300, engine_with_writes.begin + 500, 5)
        ]
    )
    cache.clock.now += 200 + FRESHNESS

    assert ask(cache, engine_with_writes, metric, last=500) == "partial"
    assert ask(cache, engine_with_writes, metric, last=500) == "hit"


def test_the_engine_may_restart_in_between(
    cache: Rig, engine_with_writes: World, request: pytest.FixtureRequest
) -> None:
    metric = metric_of(request)
    ask(cache, engine_with_writes, metric)
    engine_with_writes.process.restart()

    assert ask(cache, engine_with_writes, metric) == "partial"


@pytest.mark.usefixtures("cache")
def test_a_cache_too_small_for_anything_still_answers(
    engine_with_writes: World, request: pytest.FixtureRequest
) -> None:
    metric = metric_of(request)
    with rig(engine_with_writes.url, engine_with_writes.begin + 300, cache_range_bytes=2**16) as small:
        query = f"label_replace({metric}, 'a', '{'x' * 20_000}', '', '')"
        assert ask(small, engine_with_writes, query) == "miss"
        assert ask(small, engine_with_writes, query) == "miss"
        assert small.ranges.size == 0


@pytest.mark.usefixtures("cache")
def test_turned_off_it_asks_for_everything(engine_with_writes: World, request: pytest.FixtureRequest) -> None:
    with rig(engine_with_writes.url, engine_with_writes.begin + 300, cache_range=False) as off:
        assert ask(off, engine_with_writes, metric_of(request)) == "bypass"
        assert ask(off, engine_with_writes, metric_of(request)) == "bypass"
