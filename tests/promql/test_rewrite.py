import pytest
from gatewayz_metrics.promql.matchers import Filter, normalize_matchers, quote
from gatewayz_metrics.promql.parser import parse
from gatewayz_metrics.promql.rewrite import find_selectors, inject_matchers
from hypothesis import given
from hypothesis import strategies as st

from tests.promql import oracle
from tests.promql.grammar import QUERIES, TEXTS, damaged, examples

ENV = 'env="production"'
ADDED = ("env", "Equal", "production")


@examples(120)
@given(QUERIES)
def test_every_selector_of_the_parsed_tree_gets_the_matcher_and_keeps_the_rest(query: str) -> None:
    before, after = oracle.selectors(query), oracle.selectors(inject_matchers(query, ENV))

    assert len(find_selectors(query)) == len(before)
    assert after == [oracle.Read(name, [*matchers, ADDED]) for name, matchers in before]


@examples(120)
@given(damaged())
def test_whatever_is_injected_and_parses_carries_the_matcher_everywhere(query: str) -> None:
    try:
        text = inject_matchers(query, ENV)
        found = oracle.selectors(text)
    except ValueError:
        return

    assert all(ADDED in matchers for _, matchers in found)


@examples(120)
@given(QUERIES, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_label_value_of_any_text_comes_back_from_the_parsed_query(query: str, value: str) -> None:
    found = oracle.selectors(inject_matchers(query, f"env={quote(value)}"))

    assert all(("env", "Equal", value) in matchers for _, matchers in found)


@examples(80)
@given(TEXTS)
def test_without_matchers_any_text_stays_as_it_is(text: str) -> None:
    assert inject_matchers(text, "") == text


@examples(80)
@given(QUERIES)
def test_nothing_but_the_additions_changes(query: str) -> None:
    text = inject_matchers(query, ENV)

    rest = iter(text)
    assert all(sign in rest for sign in query)
    additions = text.count(ENV)
    assert additions == len(find_selectors(query))
    assert len(query) + len(ENV) * additions <= len(text) <= len(query) + len(f"{{{ENV}}}") * additions


PLACES = {
    "foo": "foo{X}",
    "foo{}": "foo{X}",
    "foo{ }": "foo{X }",
    'foo{a="b"}': 'foo{a="b",X}',
    'foo {a="b" , }': 'foo {a="b" ,X }',
    'foo # c {\n{a="b" # }\n}': 'foo # c {\n{a="b",X # }\n}',
    '{__name__="x"}': '{__name__="x",X}',
    '{"utf8.name"}': '{"utf8.name",X}',
    '{"utf8.name", "l.x"="b",}': '{"utf8.name", "l.x"="b",X}',
    '{a="b" or c="d",e="f"}': '{a="b",X or c="d",e="f",X}',
    'foo{or="x"}': 'foo{or="x",X}',
    "sum(by) by (by)": "sum(by{X}) by (by)",
    "sum by (x) (foo)": "sum by (x) (foo{X})",
    "sum": "sum{X}",
    "a and on (x) b unless ignoring (y) c": "a{X} and on (x) b{X} unless ignoring (y) c{X}",
    "a * on (x) group_left (y) b": "a{X} * on (x) group_left (y) b{X}",
    "a * on (x) group_right b": "a{X} * on (x) group_right b{X}",
    "a == bool b": "a{X} == bool b{X}",
    "rate(a[5m] offset -1h) @ end()": "rate(a{X}[5m] offset -1h) @ end()",
    "max_over_time(rate(a[5m])[1h:])": "max_over_time(rate(a{X}[5m])[1h:])",
    "a[$__rate_interval] / $__range_s": "a{X}[$__rate_interval] / $__range_s",
    "a offset $__range": "a{X} offset $__range",
    "a[[[__range]]]": "a{X}[[[__range]]]",
    'info(a, {data="x"})': 'info(a{X}, {data="x"})',
    'info(a, {data="x"} or b)': 'info(a{X}, {data="x"} or b{X})',
    'label_replace(a, "x{", "$1", "y", "(.*)")': 'label_replace(a{X}, "x{", "$1", "y", "(.*)")',
    "a{b=`}`} + c{d='}'}": "a{b=`}`,X} + c{d='}',X}",
    "1 + vector(1) + time()": "1 + vector(1) + time()",
    "-a ^ -b": "-a{X} ^ -b{X}",
    "start or start() or a @ start()": "start{X} or start() or a{X} @ start()",
    "a + fill(0) b": "a{X} + fill(0) b{X}",
    "a[range() / 2] offset (5m * 2)": "a{X}[range() / 2] offset (5m * 2)",
    "a smoothed + b[5m] anchored": "a{X} smoothed + b{X}[5m] anchored",
    "a default b keep_metric_names if c": "a{X} default b{X} keep_metric_names if c{X}",
    "any(a) by (b) + any by (b) (c)": "any(a{X}) by (b) + any by (b) (c{X})",
    "a\r\n# c\r\n+ b": "a{X}\r\n# c\r\n+ b{X}",
    "a # no end": "a{X} # no end",
}


@pytest.mark.parametrize(("query", "expected"), PLACES.items())
def test_where_a_matcher_goes(query: str, expected: str) -> None:
    assert inject_matchers(query, "x='y'") == expected.replace("X", "x='y'")


REFUSED = {
    "open string": 'a{b="c}',
    "open raw string": "a{b=`c}",
    "newline in a string": 'a{b="c\nd"}',
    "open brace": 'a{b="c"',
    "brace too many": "a}",
    "braces in braces": 'a{{b="c"}}',
    "two pairs of braces": 'a{b="c"}{d="e"}',
    "open parenthesis": "sum(a",
    "parenthesis too many": "sum(a))",
    "open bracket": "a[5m",
    "empty bracket": "a[]",
    "macro for a metric": "$metric",
    "macro in braces": 'a{$filters, b="c"}',
    "macro for a label": "sum by ($label) (a)",
    "macro for a function": "$fn(a)",
    "unknown macro for a duration": "a[$window]",
    "two values without an operator": "a b",
    "operator without a value": "a +",
    "nothing": "",
    "comment alone": "# a",
    "WITH": 'WITH (x = {b="c"}) a{x}',
    "name in braces": 'a{x, b="c"}',
    "empty alternative": 'a{b="c" or }',
    "alternative after a comma": 'a{b="c", or d="e"}',
    "concatenated strings": 'a{b="c" + "d"}',
    "no comma": 'a{b="c" d="e"}',
    "double comma": 'a{b="c",,d="e"}',
    "comma alone": "a{,}",
    "dotted name": "foo.bar",
    "escaped name": r"foo\-bar",
    "unicode name": "größe",
    "vertical tab": "a\v+ b",
    "keyword for a metric": "on + a",
    "keyword for a function": "by (a) + b",
    "colon in a label": 'a{b:c="d"}',
    "regex match outside braces": 'a =~ "b"',
    "timestamp of an expression": "a @ (b)",
    "VictoriaMetrics limit": "sum(a) by (b) limit 3",
    "expression in a range": "a[b]",
    "duration out of range": "a offset 99999999999999999999y",
}


@pytest.mark.parametrize("query", REFUSED.values(), ids=REFUSED.keys())
def test_a_query_that_cannot_be_judged_is_refused_with_a_sentence(query: str) -> None:
    with pytest.raises(ValueError, match=r"^The selectors of this query cannot be told: .+ at character \d+\. .+\.$"):
        inject_matchers(query, ENV)


# What one reader of PromQL takes for a string or a comment and another one for a part of the query.
BREAKOUTS = {
    "escaped quote": r'x{a="\"} or y{env=\"evil\"} or z{b=\""}',
    "escaped backslash": r'x{a="\\"} or y{env="evil"} or z{b="\\"}',
    "single quotes": r"""x{a='\'} or y{b="'} or z{c='"'}""",
    "braces in a string": "x{a=\"} or y{env='evil'} or z{\"}",
    "raw string with a backslash": r'x{a=`\`,b=`,env="evil"} or y{c=`\`} or z{d=``}',
    "raw string over lines": "x{a=`\n`} or y{b=`\n`}",
    "comment in braces": 'x{a="b", # "}\n} or y # {',
    "comment that ends with a carriage return": "x # \r + `\n or y #`",
    "comment with a quote": "x # \" '\n or y",
    "nested macro": 'x{a="${b:}"} or y{c="}"}',
    "macro that holds a brace": '${x:"}"} or y',
    "label named like a keyword": 'x{or="a", by="b"} or y{unless="c"}',
    "metric named like a keyword": "by or or or and",
    "name list that looks like selectors": "sum by (x) (y) or on (z) group",
    "label list after a metric": "x by (y)",
    "string as a label list": 'sum by ("x) (y") (z)',
    "utf-8 name with braces": '{"x} or y{"} or z',
    "quoted label": '{"a\\"=\\"b"="c"} or y',
    "not quite a number": "x * 1e+ y",
    "colon after a bracket": "x[5m:y]",
    "null byte": "x\0or y",
    "replacement character": 'x{a="\ufffd"} or y',
    "hidden second alternative": 'x{a="b" or env="evil"}',
    "info with a metric": "info(x, y)",
    "info nested": 'info(x, ({a="b"}))',
    "info with too many": 'info(x, {a="b"}, {c="d"})',
}


@pytest.mark.parametrize("query", BREAKOUTS.values(), ids=BREAKOUTS.keys())
def test_nothing_breaks_out(query: str) -> None:
    try:
        text = inject_matchers(query, ENV)
    except ValueError:
        return

    ours = [selector for selector in parse(text).selectors if not selector.is_info]
    assert all("env" in selector.labels for selector in ours)
    if "or env" not in query and oracle.parses(text):
        assert all(ADDED in matchers for _, matchers in oracle.selectors(text))


def test_every_alternative_of_a_selector_is_filtered() -> None:
    assert inject_matchers('x{a="b" or env="evil"}', ENV) == f'x{{a="b",{ENV} or env="evil",{ENV}}}'


@pytest.mark.parametrize(
    "matchers",
    [
        'env="a"} or b{c="d"',
        "env",
        'env="a',
        'a="b" or c="d"',
        'a="b",,',
        ",",
        "{,}",
        '"metric"',
        'a="b" # c',
        "}{",
        '{a="b"}}',
        '{{a="b"}}',
        '"" = "b"',
        'a:b="c"',
        '$a="b"',
        'a=="b"',
        r'a="\."',
        r'a="\xff"',
        r'a="\ud800"',
        "a=`b\\`",
        'a="\ud800"',
    ],
)
def test_what_is_no_list_of_matchers_is_refused(matchers: str) -> None:
    with pytest.raises(ValueError, match="is not a list of label matchers"):
        inject_matchers("up", matchers)


@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        ("", "up"),
        (" { } ", "up"),
        ('{a="b",}', 'up{a="b"}'),
        ('"label.with.dot"="a"', 'up{"label.with.dot"="a"}'),
        (" \"plain\" =~ 'b' ,\n", "up{plain=~'b'}"),
        ('or="a"', 'up{or="a"}'),
        ('a="\ufffd"', r'up{a="\ufffd"}'),
    ],
)
def test_a_list_of_matchers_is_tidied(matchers: str, expected: str) -> None:
    assert inject_matchers("up", matchers) == expected
    assert f"up{{{normalize_matchers(matchers)}}}".removesuffix("{}") == expected


def test_a_second_metric_name_is_refused() -> None:
    added = Filter("__name__", "=~", "up|down").matcher()

    assert inject_matchers('{job="x"}', added) == '{job="x",__name__=~"up|down"}'
    for query in ("up", '{"up"}', 'up{job="x"}'):
        with pytest.raises(ValueError, match="names its metric"):
            inject_matchers(query, added)


def test_spans_tell_name_and_braces() -> None:
    query = 'sum(foo {a="b"}) + bar + {c="d"}'

    spans = [(selector.name, selector.braces) for selector in find_selectors(query)]

    texts = [tuple(query[slice(*span)] if span else None for span in pair) for pair in spans]
    assert texts == [("foo", '{a="b"}'), ("bar", None), (None, '{c="d"}')]
