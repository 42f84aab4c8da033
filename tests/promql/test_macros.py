import pytest
from gatewayz_metrics.promql.macros import (
    MACRO_NAMES,
    MacroContext,
    expand_macros,
    is_known,
)
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.rewrite import refuse_unresolved
from gatewayz_metrics.promql.times import TimeRange
from hypothesis import given

from tests.promql.grammar import TEXTS, examples

SPAN = MacroContext(TimeRange(1_746_093_605_000, 1_746_097_205_000, 5000))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("__interval", "5s"),
        ("__interval_ms", "5000"),
        ("__range", "3600s"),
        ("__range_s", "3600"),
        ("__range_ms", "3600000"),
        ("__rate_interval", "1m"),
        ("__rate_interval_ms", "60000"),
        ("__from", "1746093605000"),
        ("__to", "1746097205000"),
    ],
)
def test_a_macro_in_its_spellings(name: str, value: str) -> None:
    spellings = [f"${name}", f"${{{name}}}", f"[[{name}]]", f"${{{name}:raw}}", f"[[{name}:pipe]]"]

    assert [expand_macros(f"a[{text}] + 1", SPAN) for text in spellings] == [f"a[{value}] + 1"] * 5
    assert all(is_known(text) for text in spellings)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${__from:date:seconds}", "1746093605"),
        ("${__from:date:iso}", "2025-05-01T10:00:05.000Z"),
        ("${__to:date}", "2025-05-01T11:00:05.000Z"),
    ],
)
def test_a_time_in_a_date_format(text: str, value: str) -> None:
    assert expand_macros(text, SPAN) == value


@pytest.mark.parametrize(
    ("step_ms", "scrape_ms", "window"),
    [(5000, 15_000, "1m"), (60_000, 15_000, "75s"), (200, 1000, "4s"), (3_600_000, 30_000, "3630s"), (1, 250, "1s")],
)
def test_the_rate_interval_covers_four_scrapes_or_a_step_and_a_scrape(
    step_ms: int, scrape_ms: int, window: str
) -> None:
    assert expand_macros("$__rate_interval", MacroContext(TimeRange(0, 1, step_ms), scrape_ms)) == window


def test_a_range_is_rounded_to_seconds() -> None:
    assert expand_macros("$__range_s $__range $__range_ms", MacroContext(TimeRange(0, 1500, 200))) == "2 2s 1500"


@pytest.mark.parametrize(
    "text",
    ["$__range_sx", "$__dashboard", "$timeFilter", "$job", "${job}", "[[job]]", "${__range:date}",
     "${__from:date:YYYY}", "${__interval.x}", "$1", "$", "${", "[[__range", "[[:alpha:]]", "$$"],
)  # fmt: skip
def test_anything_else_stays(text: str) -> None:
    assert expand_macros(text, SPAN) == text
    assert not is_known(text)


def test_macros_in_strings_are_replaced_as_grafana_does() -> None:
    assert (
        expand_macros('label_replace(a, "range", "$__range", "", "")', SPAN)
        == 'label_replace(a, "range", "3600s", "", "")'
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("rate(a[5m])", ()),
        ('a{job="$job", b=~"${b:regex}"} + [[c]]', ("$job", "${b:regex}", "[[c]]")),
        ("$__dashboard + $nosuch + $nosuch", ("$__dashboard", "$nosuch")),
        ('label_replace(a, "x", "$1 ${name}", "y", "(?P<name>.*)$")', ()),
        ('label_replace(a{job="$job"}, "x", "$1", "y", ".*")', ("$job",)),
        ('label_replace(max(label_join(a, "$x")), "x", "$name", "y", ".*")', ("$x",)),
        ('a{b=~"foo$|bar$", c="5$", d=~"[[:alpha:]]"} # $e', ()),
    ],
)
def test_what_has_no_value_is_told_by_name(text: str, names: tuple[str, ...]) -> None:
    assert QueryText(text).unresolved == names


def test_a_leftover_is_refused_with_a_sentence() -> None:
    refuse_unresolved(QueryText("up"))
    with pytest.raises(ValueError, match=r"^Nothing gave \$job, \[\[c\]\] a value\. .+\.$"):
        refuse_unresolved(QueryText('a{job="$job"} + [[c]]'))


@examples(80)
@given(TEXTS)
def test_expanding_twice_is_expanding_once(text: str) -> None:
    once = expand_macros(text, SPAN)

    assert expand_macros(once, SPAN) == once
    assert not any(f"${{{name}}}" in once for name in MACRO_NAMES)
