import re

import pytest
from gatewayz_metrics.promql.matchers import Filter, escape_regex, format_filters, format_label_name
from gatewayz_metrics.promql.rewrite import inject_matchers
from hypothesis import given
from hypothesis import strategies as st

from tests.promql import oracle
from tests.promql.grammar import examples

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
