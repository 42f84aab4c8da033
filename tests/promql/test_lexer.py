import time

import pytest
from gatewayz_metrics.promql.lexer import Kind, lex
from gatewayz_metrics.promql.parser import ParsedQuery, parse
from hypothesis import given

from tests.promql.grammar import QUERIES, TEXTS, examples


@examples(160)
@given(TEXTS)
def test_the_tokens_of_any_text_are_the_text(text: str) -> None:
    tokens = lex(text)

    assert "".join(token.text for token in tokens) == text
    assert [token.start for token in tokens] == [0, *(token.end for token in tokens)][:-1]
    assert all(token.text for token in tokens)


@examples(80)
@given(TEXTS)
def test_reading_never_fails_and_loses_nothing(text: str) -> None:
    assert "".join(token.text for token in parse(text).tokens) == text


@examples(60)
@given(QUERIES)
def test_a_valid_query_has_no_error_token_and_every_word_has_its_place(text: str) -> None:
    kinds = {token.kind for token in parse(text).tokens}

    assert not kinds & {Kind.ERROR, Kind.WORD}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (r'"a\"b"', Kind.STRING),
        (r"'a\'b'", Kind.STRING),
        ("`a\n\\b`", Kind.STRING),
        ('"a', Kind.ERROR),
        ('"a\\"', Kind.ERROR),
        ("`a", Kind.ERROR),
        ("# a", Kind.COMMENT),
        *((number, Kind.NUMBER) for number in ("0", "1.5", ".5", "5.", "1e3", "1E-3", "0x1f", "0X_1F", "1_000", "010")),
        *((duration, Kind.DURATION) for duration in ("5m", "1h30m", "1y2w3d4h5m6s7ms", "250ms", "5m7ms")),
        *((broken, Kind.ERROR) for broken in ("1x", "1.2.3", "1__0", "1_", "0x", "5m5h", "5mm", "1h30", "1i", "1Ki")),
        *((macro, Kind.MACRO) for macro in ("$__range", "${__from:date:iso}", "[[job]]", "[[job:raw]]", "${a.b}")),
        ("a:b", Kind.WORD),
        (":", Kind.WORD),
        ("!~", Kind.OPERATOR),
        ("é", Kind.ERROR),
        ("\\", Kind.ERROR),
        ("\v", Kind.ERROR),
    ],
)
def test_one_token(text: str, kind: Kind) -> None:
    assert [(token.kind, token.text) for token in lex(text)] == [(kind, text)]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("a.b", ["a", ".", "b"]),
        ("foo[5m:1m]", ["foo", "[", "5m", ":", "1m", "]"]),
        ("foo[5m:]", ["foo", "[", "5m", ":", "]"]),
        ("a[$__range:$__interval]", ["a", "[", "$__range", ":", "$__interval", "]"]),
        ("a[[[__range]]]", ["a", "[", "[[__range]]", "]"]),
        ("[[:alpha:]]", ["[", "[", ":", "alpha", ":", "]", "]"]),
        ("a #b\rc", ["a", " ", "#b", "\r", "c"]),
        ("'a\nb'", ["'a", "\n", "b", "'"]),
        ("a>=bool-1", ["a", ">=", "bool", "-", "1"]),
        ('${x"}"', ["$", "{", "x", '"}"']),
    ],
)
def test_several_tokens(text: str, texts: list[str]) -> None:
    assert [token.text for token in lex(text)] == texts


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("sum by (by, sum) (by)", "aggregator keyword label label metric"),
        ("sum(sum) without (on)", "aggregator metric keyword label"),
        ("sum", "metric"),
        ("SUM BY (a) (b)", "aggregator keyword label metric"),
        ('offset{offset="x"} offset 5m', "metric label keyword"),
        ("inf * nan - Infinity", "number number metric"),
        ("start @ start()", "metric function"),
        ("start() or end", "function keyword metric"),
        ("a == bool on (bool) group_left (le) or", "metric keyword keyword label keyword label metric"),
        ("a unless ignoring () and", "metric keyword keyword metric"),
        ("a atan2 rate(b[5m:])", "metric keyword function metric"),
        ("fill + fill_left(1) fill", "metric keyword metric"),
        ('{"a.b", "c.d"="e", f="g"}', "label"),
        ("a[step() * 2]", "metric function"),
        ("any(a) by (b) default 0", "function metric keyword label keyword"),
    ],
)
def test_a_word_is_what_its_place_makes_it(text: str, kinds: str) -> None:
    words = {Kind.METRIC, Kind.LABEL, Kind.FUNCTION, Kind.AGGREGATOR, Kind.KEYWORD, Kind.WORD}

    found = [token for token in parse(text).tokens if token.kind in words or token.text.lower() in ("inf", "nan")]

    assert " ".join(token.kind for token in found) == kinds


ADVERSARIAL = {
    "escaped quotes": '\\"',
    "open strings": "'\"`",
    "lines of open strings": "\"'a\\\n",
    "open macros": "${a:",
    "open brackets of macros": "[[a",
    "durations": "1h",
    "numbers": "1_1.",
    "digits": "1",
    "parentheses": "(",
    "minus signs": "-",
    "calls": "a(",
    "braces": '{a="b"}',
    "matchers": 'a="b",',
    "comments": "#\r",
    "backslashes": "\\",
    "letters": "é",
}


@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_time_grows_with_the_length_and_no_faster(unit: str) -> None:
    def seconds(size: int) -> float:
        text = "a" + unit * (size // len(unit))
        return min(_timed(text) for _ in range(5))

    assert seconds(16_384) < 4 * 2.5 * seconds(4096) + 0.002


def _timed(text: str) -> float:
    start = time.process_time()
    found = ParsedQuery.read(text)
    assert found.traits.lookahead_ms + len(found.unresolved) + len(found.windows) >= 0
    return time.process_time() - start
