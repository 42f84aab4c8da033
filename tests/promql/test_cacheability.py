import pytest
from gatewayz_metrics.promql.cacheability import BypassReason
from gatewayz_metrics.promql.parser import parse
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
        ("up @ start()", BypassReason.BOUNDS),
        ("up @ end()", BypassReason.BOUNDS),
        ("up > start()", BypassReason.BOUNDS),
        ("end() - range()", BypassReason.BOUNDS),
        ("rate(up[range() / 2])", BypassReason.EXPRESSION),
        ("rate(up[step()])", BypassReason.EXPRESSION),
        ("rate(up[5m * 2])", BypassReason.EXPRESSION),
        ("rate(up[5m:step()])", BypassReason.EXPRESSION),
        ("up offset (5m + 1m)", BypassReason.EXPRESSION),
        ("up offset -step()", BypassReason.EXPRESSION),
        ("limitk(3, up)", BypassReason.LIMIT),
        ("limit_ratio(0.5, up)", BypassReason.LIMIT),
        ("up smoothed", BypassReason.SMOOTHED),
        ("rate(up[5m] anchored)", BypassReason.SMOOTHED),
        ("rate(up[$__rate_interval])", BypassReason.MACRO),
        ("up / ${__range_s}", BypassReason.MACRO),
        ('up{a="$__from"}', BypassReason.MACRO),
        ("up[$__nosuch]", BypassReason.MACRO),
        ("up default 0", BypassReason.METRICSQL),
        ("rate(up) keep_metric_names", BypassReason.METRICSQL),
        ('up{a="b" or c="d"}', BypassReason.METRICSQL),
        ("any(up) by (job)", BypassReason.METRICSQL),
        ("up offset 1h-5m", BypassReason.METRICSQL),
        ("WITH (x = 5) up", BypassReason.SYNTAX),
        ("rate(up[1i])", BypassReason.SYNTAX),
        ("up{", BypassReason.SYNTAX),
        ("", BypassReason.SYNTAX),
        ("now()", BypassReason.FUNCTION),
        ("range_median(up)", BypassReason.FUNCTION),
        ("info(up)", BypassReason.FUNCTION),
        ("sum by (__name__) (up)", BypassReason.NAME_LABEL),
        ("sum(rate(up[5m])) by (job, __name__)", BypassReason.NAME_LABEL),
        ("count without (__name__) (up)", BypassReason.NAME_LABEL),
        ('sum by ("__name__") (up)', BypassReason.NAME_LABEL),
        (r'sum by ("\x5f_name__") (up)', BypassReason.NAME_LABEL),
        ("up * on (__name__) down", BypassReason.NAME_LABEL),
        ("up * on (job) group_left (__name__) down", BypassReason.NAME_LABEL),
        ("up and ignoring (__name__) down", BypassReason.NAME_LABEL),
        ('sum by (job) ({__name__="up"})', None),
    ],
)
def test_why_a_query_goes_past_the_cache(query: str, reason: BypassReason | None) -> None:
    found = parse(query).traits

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
    assert parse(query).traits.lookahead_ms == lookahead_ms


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
    assert parse(query).traits.at_ms == at_ms


def test_a_fixed_time_is_settled_when_all_it_reads_is_old() -> None:
    assert parse("up").traits.is_settled(0)
    assert parse("up @ 100 offset -5m").traits.is_settled(400_000)
    assert not parse("up @ 100 offset -5m").traits.is_settled(399_999)


@pytest.mark.parametrize(
    ("query", "is_plain"),
    [
        ("1+1", True),
        ("vector(1)", True),
        ('"text"', True),
        ("-(2 ^ 0.5) * pi()", True),
        ("sum(vector(1)) by (x)", True),
        ("count_over_time(vector(1)[1h:7m])", False),
        ("count_over_time(vector(1)[1h:])", False),
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
    assert parse(query).traits.is_plain is is_plain


@examples(80)
@given(TEXTS)
def test_any_text_has_traits(text: str) -> None:
    assert parse(text).traits.lookahead_ms >= 0


@examples(60)
@given(QUERIES)
def test_a_valid_query_goes_past_the_cache_for_its_bounds_alone(query: str) -> None:
    reason = parse(query).traits.reason

    assert reason is None or (reason is BypassReason.BOUNDS and "@" in query)


@pytest.mark.parametrize(
    ("query", "lookback_ms"),
    [
        ("up", 0),
        ("up[5m]", 300_000),
        ("rate(up[5m])", 300_000),
        ("rate(up[5m] offset 1h)", 3_900_000),
        ("rate(up[5m] offset -1h)", 300_000),
        ("rate(a[5m]) + rate(b[1h]) + c", 3_600_000),
        ("max_over_time(rate(up[5m])[1h:1m])", 3_900_000),
        ("max_over_time((rate(a[5m]) / sum by (x) (rate(b[10m])))[1h:] offset 1d)", 90_600_000),
        ("sum(max_over_time(a[1d:1h] offset 30d)) by (x) > 1", 2_678_400_000),
        ("max_over_time(min_over_time(avg_over_time(a[1m])[1m:])[1m:])", 180_000),
        ("topk(3, a offset 1h) or b", 3_600_000),
        ("a[90]", 90_000),
    ],
)
def test_how_far_a_query_looks_back(query: str, lookback_ms: int) -> None:
    assert parse(query).lookback_ms == lookback_ms
