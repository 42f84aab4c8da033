import re

import pytest
from gatewayz_metrics.promql.matchers import (
    Filter,
    escape_regex,
    format_filters,
    format_label_name,
    format_series,
    normalize_matchers,
    parse_matchers,
    quote,
    unquote,
)
from gatewayz_metrics.promql.rewrite import inject_matchers
from hypothesis import given
from hypothesis import strategies as st

from tests.promql import oracle
from tests.promql.grammar import MATCHER_LISTS, examples
from tests.promql.grammar import TEXTS as ANY_TEXT

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("one", "matcher"),
    [
        (Filter("job", "=", "api"), 'job="api"'),
        (Filter("job", "!=", 'a"b\\c\nd'), r'job!="a\"b\\c\nd"'),
        (Filter("status", "=~", "5.."), 'status=~"5.."'),
        (Filter("status", "!~", r"\d+"), r'status!~"\\d+"'),
        (Filter("instance", "=|", "a", ("10.0.0.1:9090", "b|c")), r'instance=~"10\\.0\\.0\\.1:9090|b\\|c"'),
        (Filter("instance", "!=|", "a.b"), r'instance!~"a\\.b"'),
        (Filter("service.name", "=", "x"), '"service.name"="x"'),
        (Filter('a"} or b{c', "=", "x"), r'"a\"} or b{c"="x"'),
        (Filter("größe", "=", "\ufffd"), '"größe"="\\ufffd"'),
    ],
)
def test_a_filter_as_a_matcher(one: Filter, matcher: str) -> None:
    assert one.matcher() == matcher


@pytest.mark.parametrize("operator", ["<", ">"])
def test_an_order_is_refused_by_name(operator: str) -> None:
    with pytest.raises(ValueError, match=rf"'{operator}'.*have no order"):
        format_filters([Filter("code", operator, "500")])


def test_an_unknown_operator_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'==' is not an operator"):
        format_filters([Filter("code", "==", "500")])


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="half a character"):
        Filter("a", "=", "\ud800").matcher()


def test_unfinished_and_repeated_filters_are_left_out() -> None:
    filters = [
        Filter("a", "=", "b"),
        Filter("", "=", "b"),
        Filter("a", "=", ""),
        Filter("a", "", "b"),
        Filter("a", "=", "b"),
    ]

    assert format_filters(filters) == 'a="b"'
    assert format_filters([]) == ""


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"key": "a", "operator": "=", "value": "b", "origin": "x"}, Filter("a", "=", "b")),
        ({"key": "a", "operator": "=|", "value": None, "values": ["b", "c"]}, Filter("a", "=|", "", ("b", "c"))),
        ({"key": "a", "operator": "=", "value": "b", "values": None}, Filter("a", "=", "b")),
        ({"key": "a", "operator": "=", "value": 5, "values": [1, None]}, Filter("a", "=", "5", ("1",))),
        ({}, Filter("", "")),
    ],
)
def test_a_filter_of_a_request(item: dict[str, object], expected: Filter) -> None:
    assert Filter.of(item) == expected


@examples(80)
@given(TEXTS, TEXTS, st.sampled_from(["=", "!="]))
def test_any_label_and_value_come_back_from_the_parsed_query(key: str, value: str, operator: str) -> None:
    (found,) = oracle.selectors(inject_matchers("up", format_filters([Filter(key, operator, value)])))

    assert found == oracle.Read("up", [(key, {"=": "Equal", "!=": "NotEqual"}[operator], value)])


@examples(80)
@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS)
def test_one_of_matches_these_values_and_no_other(values: list[str], other: str) -> None:
    matchers = format_filters([Filter("a", "=|", "", tuple(values))])
    ((_, _, pattern),) = oracle.selectors(inject_matchers("up", matchers))[0].matchers

    assert all(re.fullmatch(pattern, value) for value in values)
    assert bool(re.fullmatch(pattern, other)) is (other in values)


def test_only_signs_are_escaped_in_a_regex() -> None:
    assert escape_regex("a-b c/d#e") == "a-b c/d#e"
    assert format_label_name("_a1") == "_a1"


NAMES = {"=": "Equal", "!=": "NotEqual", "=~": "Re", "!~": "NotRe"}


def read(text: str) -> list[tuple[str, str, str]]:
    """The matchers as we read them, in the words of the oracle."""
    return [(one.label, NAMES[one.operator], one.value) for one in parse_matchers(text)]


@examples(200)
@given(MATCHER_LISTS)
def test_a_list_of_matchers_is_read_as_the_parser_reads_it(text: str) -> None:
    assert oracle.selectors(f"up{{{normalize_matchers(text)}}}") == [oracle.Read("up", read(text))]


@examples(200)
@given(ANY_TEXT | st.lists(ANY_TEXT | MATCHER_LISTS, max_size=3).map(",".join))
def test_any_text_that_is_taken_for_matchers_stays_within_its_braces(text: str) -> None:
    try:
        tidy = normalize_matchers(text)
        filtered = inject_matchers("sum(up) or up", text)
    except ValueError:  # no list of matchers, or a second name for the metric
        return

    assert read(tidy) == read(text)
    assert normalize_matchers(tidy) == tidy
    if oracle.parses(filtered):
        assert oracle.selectors(filtered) == [oracle.Read("up", read(text))] * 2


@examples(100)
@given(TEXTS)
def test_a_string_is_read_as_it_was_written(text: str) -> None:
    assert unquote(quote(text)) == text


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (r"""'\a\b\f\n\r\t\v\\\'"'""", "\a\b\f\n\r\t\v\\'\""),
        (r'"\"\101\x41\u00e9\U0001f600"', '"AAé😀'),
        (r'"\303\xbc"', "ü"),
        (r"`a\n`", r"a\n"),
    ],
)
def test_escapes_are_read(literal: str, text: str) -> None:
    assert unquote(literal) == text


@pytest.mark.parametrize(
    "literal", [r'"\d"', r'"\."', r'"\x4"', r'"\18"', r'"\400"', r'"\ud800"', r'"\U00110000"', r'"\xc3"', '"\\\'"']
)
def test_unknown_escapes_are_refused(literal: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whoever calls it has the words
        unquote(literal)


def test_a_series_is_written_as_prometheus_writes_it() -> None:
    labels = {"b": 'x"y', "__name__": "up", "a": "1"}

    assert format_series(labels) == r'up{a="1", b="x\"y"}'
    assert format_series(labels, ",") == r'up{a="1",b="x\"y"}'
    assert format_series({"__name__": "up"}) == "up"
