"""A tenant's matcher in every selector: what an independent parser finds, and what is refused."""

import pytest
from gatewayz_metrics.promql.build import splice
from gatewayz_metrics.promql.narrowing import narrow_query, narrow_selector
from gatewayz_metrics.promql.parser import parse
from hypothesis import given

from tests.promql import oracle
from tests.promql.grammar import QUERIES, TEXTS, damaged, examples

OWN = 'team=~"a"'
ADDED = ("team", "Re", "a")


def narrowed(text: str) -> str:
    return splice(text, narrow_query(parse(text), OWN))


@examples(150)
@given(QUERIES)
def test_every_selector_of_the_parsed_tree_has_the_matcher_first_and_keeps_the_rest(query: str) -> None:
    assert oracle.selectors(narrowed(query)) == [
        oracle.Read(name, [ADDED, *matchers]) for name, matchers in oracle.selectors(query)
    ]


@examples(300)
@given(damaged() | TEXTS)
def test_what_is_not_refused_and_parses_has_the_matcher_everywhere(text: str) -> None:
    try:
        found = oracle.selectors(narrowed(text))
    except ValueError:
        return

    assert all(ADDED in matchers for _, matchers in found)


@examples(150)
@given(damaged() | TEXTS)
def test_a_match_is_one_selector_or_refused(text: str) -> None:
    try:
        one = splice(text, narrow_selector(parse(text), OWN))
    except ValueError:
        return

    assert len(narrow_query(parse(one), OWN)) == 1
    if oracle.parses(one):
        ((_, matchers),) = oracle.selectors(one)
        assert ADDED in matchers


CASES = {
    "no braces": ("up", "up{X}"),
    "empty braces": ("up{}", "up{X}"),
    "blank braces": ("up{ }", "up{X }"),
    "comment in braces": ("up{ # }\n}", "up{X # }\n}"),
    "no name": ('{a="b"}', '{X,a="b"}'),
    "comma after the last": ('up{a="b",}', 'up{X,a="b",}'),
    "its own label": ('up{team="b"}', 'up{X,team="b"}'),
    "name as a label": ('{__name__=~"up|x"}', '{X,__name__=~"up|x"}'),
    "name in quotes": ('{"a.b"}', '{X,"a.b"}'),
    "labels in quotes": ('{"a.b", "c.d"="e"}', '{X,"a.b", "c.d"="e"}'),
    "everything": ("{}", "{X}"),
    "range": ("rate(up[5m] offset 1m @ end())", "rate(up{X}[5m] offset 1m @ end())"),
    "subquery": ("max_over_time((a or b{})[1h:5m])", "max_over_time((a{X} or b{X})[1h:5m])"),
    "computed duration": ("sum_over_time(up[5m + step()])", "sum_over_time(up{X}[5m + step()])"),
    "parameter": ("topk(scalar(n), up)", "topk(scalar(n{X}), up{X})"),
    "labels are no selectors": (
        "sum by (up) (a) * on (b) group_left (c) d",
        "sum by (up) (a{X}) * on (b) group_left (c) d{X}",
    ),
    "keywords as names": ("offset + by", "offset{X} + by{X}"),
    "in a string": ('label_replace(up, "a", "b{c}", "d", "up")', 'label_replace(up{X}, "a", "b{c}", "d", "up")'),
    "in a comment": ("up # or down{}", "up{X} # or down{}"),
    "no series": ("vector(1) + time()", "vector(1) + time()"),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_where_the_matcher_stands(text: str, expected: str) -> None:
    assert narrowed(text) == expected.replace("X", OWN)


REFUSED = {
    "not closed": ("up{", "ends too early at character 4; correct"),
    "not PromQL": ("ü", "is not PromQL at character 1"),
    "info": ("info(up)", r"info\(\) reads target_info .* group_left"),
    "info with labels": ('sum(info(up, {__name__="x"}))', r"info\(\) reads"),
    "alternatives": ('up{a="b" or c="d"}', "MetricsQL"),
    "unknown function": ("everything(up)", r"everything\(\) is no function"),
    "templates": ("with (x = up) x", "is no function|not expected"),
    "a duration or a difference": ("2h-5m", "MetricsQL"),
    "macro": ("rate(up[$__rate_interval])", "a macro that has no value"),
    "variable": ("$x", "could stand for anything"),
    "end of a comment": ("a # b\r+ c", "carriage return"),
    "end of a raw string": ("up{a=`\\`}", "backslash"),
    "half a character": ('up{a="\udce9"}', "no UTF-8"),
}


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_beyond_doubt_is_refused_with_the_remedy(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        narrowed(text)


@pytest.mark.parametrize("text", ["", "1", "up or down", "up[5m]", "up offset 5m", "-up", "(up)", "sum(up)", "up{} {}"])
def test_a_match_is_nothing_but_a_selector(text: str) -> None:
    with pytest.raises(ValueError, match=r"one selector|beyond doubt"):
        narrow_selector(parse(text), OWN)


def test_a_match_may_have_blanks_around_it() -> None:
    assert splice(" up{} # x", narrow_selector(parse(" up{} # x"), OWN)) == f" up{{{OWN}}} # x"
