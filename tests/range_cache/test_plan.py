import pytest
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache import RangeQuery
from gatewayz_metrics.range_cache.plan import Extent, bypass_reason, plan_fetches
from gatewayz_metrics.upstream.request import Pairs

NOW = 2_000_000_000


@pytest.mark.parametrize(
    ("query", "extra", "reason"),
    [
        ("up", (), ""),
        ("up", (("limit", "0"),), ""),
        ("up", (("timeout", "5s"), ("anything", "x")), ""),
        ("up", (("limit", "3"),), "limit"),
        ("up", (("stats", "all"),), "stats"),
        ("limitk(2, up)", (), "limit"),
        ("up @ start()", (), "bounds"),
        ("up @ 100", (), ""),
        ("up @ 2000000.001", (), "fixed-time"),
        ("up offset -5m", (), ""),
        ("up offset -1000d", (), "too-new"),
        ("up[", (), "syntax"),
        ("up default 0", (), "metricsql"),
        ("unknown_function(up)", (), "function"),
    ],
)
def test_what_goes_past_the_cache(query: str, extra: Pairs, reason: str) -> None:
    assert bypass_reason(RangeQuery(query, TimeRange(0, 60_000, 1000), extra), NOW) == reason


def test_a_range_that_may_change_everywhere_goes_past_the_cache() -> None:
    assert bypass_reason(RangeQuery("up", TimeRange(NOW + 1, NOW + 60_000, 1000)), NOW) == "too-new"


def test_a_caller_may_go_past_the_cache() -> None:
    assert bypass_reason(RangeQuery("up", TimeRange(0, 60_000, 1000), bypass="alert"), NOW) == "alert"


def extents(*stretches: tuple[int, int], read_at: float = 0.0) -> tuple[Extent, ...]:
    return tuple(Extent(first, last, read_at + number) for number, (first, last) in enumerate(stretches))


def test_only_gaps_are_asked_for() -> None:
    assert plan_fetches(extents((0, 50), (71, 100)), 0, 110).gaps == ((51, 70), (101, 110))


def test_nothing_is_asked_for_when_all_is_known() -> None:
    assert plan_fetches(extents((0, 100)), 10, 20).gaps == ()


def test_many_gaps_become_one_question() -> None:
    known = extents((0, 30), (40, 70), (80, 110), (120, 150), (160, 190))

    found = plan_fetches(known, 0, 200)

    assert (found.gaps, found.kept, found.reason) == (((0, 200),), (), "scattered")


def test_a_range_that_is_mostly_missing_is_asked_for_whole() -> None:
    assert plan_fetches(extents((0, 30)), 0, 100).reason == "mostly-missing"


def test_scraps_are_asked_for_again_unless_they_belong_to_more() -> None:
    alone = plan_fetches(extents((0, 60), (70, 75)), 0, 100)
    together = plan_fetches(extents((0, 60), (61, 65)), 0, 100)

    assert alone.gaps == ((61, 100),)
    assert together.gaps == ((66, 100),)
