import pytest
from gatewayz_metrics.promql.traits import Reason, traits
from hypothesis import given

from tests.promql.grammar import QUERIES, TEXTS, examples


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("sum by (job) (rate(up[5m])) / 2 > bool 1", None),
        ("up @ 100 offset 5m", None),
        ("up offset -5m", None),
        ("max_over_time(up[1h:])", None),
        ("up * step()", None),
        ("topk(3, up)", None),
        ("up @ start()", Reason.BOUNDS),
        ("up @ end()", Reason.BOUNDS),
        ("up > start()", Reason.BOUNDS),
        ("end() - range()", Reason.BOUNDS),
        ("rate(up[range() / 2])", Reason.EXPRESSION),
        ("rate(up[step()])", Reason.EXPRESSION),
        ("rate(up[5m * 2])", Reason.EXPRESSION),
        ("rate(up[5m:step()])", Reason.EXPRESSION),
        ("up offset (5m + 1m)", Reason.EXPRESSION),
        ("up offset -step()", Reason.EXPRESSION),
        ("limitk(3, up)", Reason.LIMIT),
        ("limit_ratio(0.5, up)", Reason.LIMIT),
        ("up smoothed", Reason.SMOOTHED),
        ("rate(up[5m] anchored)", Reason.SMOOTHED),
        ("rate(up[$__rate_interval])", Reason.MACRO),
        ("up / ${__range_s}", Reason.MACRO),
        ('up{a="$__from"}', Reason.MACRO),
        ("up[$__nosuch]", Reason.MACRO),
        ("up default 0", Reason.METRICSQL),
        ("rate(up) keep_metric_names", Reason.METRICSQL),
        ('up{a="b" or c="d"}', Reason.METRICSQL),
        ("any(up) by (job)", Reason.METRICSQL),
        ("up offset 1h-5m", Reason.METRICSQL),
        ("WITH (x = 5) up", Reason.SYNTAX),
        ("rate(up[1i])", Reason.SYNTAX),
        ("up{", Reason.SYNTAX),
        ("", Reason.SYNTAX),
        ("now()", Reason.FUNCTION),
        ("range_median(up)", Reason.FUNCTION),
        ("info(up)", Reason.FUNCTION),
    ],
)
def test_why_a_query_goes_past_the_cache(query: str, reason: Reason | None) -> None:
    found = traits(query)

    assert found.reason is reason
    assert found.cacheable is (reason is None)


@pytest.mark.parametrize(
    ("query", "lookahead_ms"),
    [
        ("up", 0),
        ("up offset 5m", 0),
        ("up offset -5m", 300_000),
        ("up offset - 90", 90_000),
        ("up offset -1h30m500ms", 5_400_500),
        ("max_over_time((up offset -5m)[1h:1m] offset -10m)", 900_000),
        ("up offset -5m + up offset 1h", 300_000),
        ("up offset -0x10", 16_000),
        ("up offset -010", 8000),
    ],
)
def test_how_far_a_query_looks_ahead(query: str, lookahead_ms: int) -> None:
    assert traits(query).lookahead_ms == lookahead_ms


@pytest.mark.parametrize(
    ("query", "at_ms"),
    [
        ("up", ()),
        ("up @ 100", (100_000,)),
        ("up @ -1.5 + up @ 1e3", (-1500, 1_000_000)),
        ("up @ 1760000000.123", (1_760_000_000_123,)),
    ],
)
def test_the_fixed_times_of_a_query(query: str, at_ms: tuple[int, ...]) -> None:
    assert traits(query).at_ms == at_ms


def test_a_fixed_time_is_settled_when_all_it_reads_is_old() -> None:
    assert traits("up").is_settled(0)
    assert traits("up @ 100 offset -5m").is_settled(400_000)
    assert not traits("up @ 100 offset -5m").is_settled(399_999)


@pytest.mark.parametrize(
    ("query", "is_plain"),
    [
        ("1+1", True),
        ("vector(1)", True),
        ('"text"', True),
        ("-(2 ^ 0.5) * pi()", True),
        ("sum(vector(1)) by (x)", True),
        ("time()", False),
        ("minute()", False),
        ("step()", False),
        ("rand()", False),
        ("up", False),
        ('{job="x"}', False),
        ("1 +", False),
        ("$__range_s", False),
    ],
)
def test_a_plain_query_reads_neither_series_nor_the_clock(query: str, *, is_plain: bool) -> None:
    assert traits(query).is_plain is is_plain


@pytest.mark.parametrize(
    ("query", "depends"), [("up[1h:]", True), ("step()", True), ("up[1h:5m]", False), ("up", False)]
)
def test_what_depends_on_the_step(query: str, *, depends: bool) -> None:
    assert traits(query).depends_on_step is depends


@examples(80)
@given(TEXTS)
def test_any_text_has_traits(text: str) -> None:
    assert traits(text).lookahead_ms >= 0


@examples(60)
@given(QUERIES)
def test_a_valid_query_goes_past_the_cache_for_its_bounds_alone(query: str) -> None:
    reason = traits(query).reason

    assert reason is None or (reason is Reason.BOUNDS and "@" in query)
