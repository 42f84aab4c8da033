"""Backslashes that Grafana's formats leave in a query, repaired where the contract says and nowhere else."""

import re

import pytest
from gatewayz_metrics.promql.rewrite import repair_escapes
from hypothesis import given
from hypothesis import strategies as st

from tests.promql import oracle
from tests.promql.grammar import QUERIES, TEXTS, examples

TEXT = st.text(st.sampled_from("ab19.:/-_()|*+?^$[]{} é"), min_size=1, max_size=12)


def formatted(value: str) -> str:
    """A value as Grafana's `regex` format writes it."""
    return re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (r'up{instance="10\.0\.0\.1:9090"}', 'up{instance="10.0.0.1:9090"}'),
        (r'up{instance!="a\/b"}', 'up{instance!="a/b"}'),
        (r'up{instance=~"10\.0\.0\.1:9090"}', r'up{instance=~"10\\.0\\.0\\.1:9090"}'),
        (r'up{instance!~"(a\.b:1|c\.d:2)"}', r'up{instance!~"(a\\.b:1|c\\.d:2)"}'),
        (r"up{instance=~'a\.b'}", r"up{instance=~'a\\.b'}"),
        (r'up{instance =~ # c' + '\n' + r' "a\.b"}', r'up{instance =~ # c' + '\n' + r' "a\\.b"}'),
        (r"up{instance=~`a\.b`}", r"up{instance=~`a\.b`}"),
        (r"up{instance=`a\.b`}", "up{instance=`a.b`}"),
        (r"up{path=`C:\dir\\x`}", r"up{path=`C:\dir\\x`}"),
        (r'up{a="\a\b\f\n\r\t\v\\\'\"\x41\u00e9\U0001F600\101"}', None),
        (r'up{a=~"10\\.0", b="C:\\dir"}', None),
        (r'up{a=~".*"} # \. "\."', None),
        (r'p\.99', "p.99"),
        (r'rate\(up\[5m\]\)', "rate(up[5m])"),
        (r'up\{a="b\.c",d=~"e\.f"\}', r'up{a="b.c",d=~"e\\.f"}'),
        (r'a \/ b', "a / b"),
        (r'foo\-bar', None),
        (r'a\\.b', None),
        (r'up{a="b\.c', None),
        (r'label_replace(a, "b", "$1\.x", "c", "(.*)\.d")', r'label_replace(a, "b", "$1.x", "c", "(.*)\\.d")'),
        (r'label_replace(a{b="c\.d"}, "b", "", "c", `\d+\.`)', r'label_replace(a{b="c.d"}, "b", "", "c", `\d+\.`)'),
        (r'count_values("a\.b", c)', 'count_values("a.b", c)'),
        (r'{"my\.metric", "l\.x"="v\.y"}', '{"my.metric", "l.x"="v.y"}'),
    ],
)  # fmt: skip
def test_a_repair(query: str, expected: str | None) -> None:
    assert repair_escapes(query) == (query if expected is None else expected)


@examples(160)
@given(TEXTS)
def test_repairing_twice_is_repairing_once(text: str) -> None:
    once = repair_escapes(text)

    assert repair_escapes(once) == once


@examples(60)
@given(QUERIES)
def test_a_valid_query_is_left_alone(query: str) -> None:
    assert repair_escapes(query) == query


@examples(120)
@given(TEXTS)
def test_only_backslashes_come_and_go(text: str) -> None:
    assert repair_escapes(text).replace("\\", "") == text.replace("\\", "")


@examples(80)
@given(TEXT)
def test_a_variable_means_its_value_again(value: str) -> None:
    query = f'up{{a="{formatted(value)}",b=~"{formatted(value)}",c=~"({formatted(value)}|x)"}}'

    matchers = {name: found for name, _, found in oracle.selectors(repair_escapes(query))[0].matchers}

    assert matchers["a"] == value
    assert re.fullmatch(matchers["b"], value)
    assert re.fullmatch(matchers["c"], value)
