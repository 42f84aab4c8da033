"""The grammar of PromQL as far as it decides what a word is, in one walk without recursion.

It accepts a little more than any engine does, as it checks no types, and never less than Prometheus. What
it refuses is no query, or one that engines read in different ways.
"""

import itertools
from dataclasses import dataclass
from enum import StrEnum

from gatewayz_metrics.promql.lexer import Cursor, Kind, ParseFault, Token, lex
from gatewayz_metrics.promql.macros import is_known
from gatewayz_metrics.promql.matchers import LABEL_NAME
from gatewayz_metrics.promql.times import parse_literal_ms

# DOC What follows a selector or an expression: `[5m:1m]`, `offset -5m`, `@ end()`.


LITERALS = frozenset([Kind.NUMBER, Kind.DURATION])

# Prometheus 3 computes durations from these.
_WORDS = frozenset(["max", "min", "range", "step"])
_DURATION_SIGNS = frozenset("+-*/%^(),")
_LARGEST_MS = 2**63


class Feature(StrEnum):
    """What a query uses beyond selectors, functions and operators."""

    BOUNDS = "@ start() or @ end()"
    EXPRESSION = "a computed duration"
    DEFAULT_RESOLUTION = "a subquery without a resolution"
    SMOOTHED = "smoothed or anchored"
    METRICSQL = "MetricsQL"
    MACRO = "a macro"


class Modifiers:
    """The modifiers of a query as they are read, and what they say of its times."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.features: set[Feature] = set()
        self.at_ms: list[int] = []
        self.lookahead_ms = 0

    def range(self) -> None:
        """A range or a subquery whose bracket was taken last."""
        if not self._duration():
            raise self.cursor.misplaced(self.cursor.peek())
        if self.cursor.accept(":") and not self._duration():
            self.features.add(Feature.DEFAULT_RESOLUTION)
        self.cursor.expect("]")

    def offset(self) -> None:
        """What follows `offset`."""
        sign = self._sign()
        if self.cursor.word() in _WORDS:
            self.cursor.mark_next(Kind.FUNCTION)
        elif self.cursor.peek().text != "(":
            token = self.cursor.expect_kind({*LITERALS, Kind.MACRO})
            if token.kind is Kind.MACRO:
                self.macro(token)
            else:
                self.lookahead_ms += max(0, -sign * _instant(token))
            return
        self.features.add(Feature.EXPRESSION)
        self.cursor.expect("(")
        self._duration()
        self.cursor.expect(")")

    def at(self) -> None:
        """What follows `@`."""
        if self.cursor.word() in ("start", "end"):
            self.cursor.mark_next(Kind.FUNCTION)
            self.cursor.expect("(")
            self.cursor.expect(")")
            self.features.add(Feature.BOUNDS)
        else:
            self.at_ms.append(self._sign() * _instant(self.cursor.expect_kind(LITERALS)))

    def macro(self, token: Token) -> None:
        """A macro where a number or a duration can stand."""
        if not is_known(token.text):
            raise ParseFault(f"{token.text[:40]!r} could stand for anything", token.start)
        self.features.add(Feature.MACRO)

    def _sign(self) -> int:
        sign = -1 if self.cursor.peek().text == "-" else 1
        self.cursor.accept("+", "-")
        return sign

    def _duration(self) -> int:
        """How many tokens a duration has; more than one is a computation."""
        depth = length = 0
        while depth or self.cursor.peek().text not in (")", "]", ":"):
            token = self.cursor.take()
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            length += 1
            self._part(token)
        if length > 1:
            self.features.add(Feature.EXPRESSION)
        return length

    def _part(self, token: Token) -> None:
        if token.kind is Kind.MACRO:
            self.macro(token)
        elif token.kind is Kind.WORD and token.text.lower() in _WORDS:
            self.cursor.mark(Kind.FUNCTION)
            self.features.add(Feature.EXPRESSION)
        elif token.kind not in LITERALS and token.text not in _DURATION_SIGNS:
            raise self.cursor.misplaced(token)


def _instant(token: Token) -> int:
    try:
        ms = parse_literal_ms(token.text)
    except (OverflowError, ValueError) as error:
        raise ParseFault(f"{token.text[:20]!r} is out of range", token.start) from error
    if ms >= _LARGEST_MS:
        raise ParseFault(f"{token.text[:20]!r} is out of range", token.start)
    return ms


# DOC A selector and what stands between its braces.


NAME_LABEL = "__name__"

_MATCHES = frozenset(["=", "!=", "=~", "!~"])


@dataclass(frozen=True, slots=True)
class Selector:
    """A place where a query reads series; spans are `(start, end)` in the text, braces included."""

    name: tuple[int, int] | None
    braces: tuple[int, int] | None
    # Where each alternative ends and whether a comma is due there. Only MetricsQL has more than one.
    ends: tuple[tuple[int, bool], ...]
    labels: frozenset[str]
    is_named: bool
    # The second argument of info() chooses labels to add; it reads no series of its own.
    is_info: bool


def read_selector(cursor: Cursor, name: Token | None, *, is_info: bool = False) -> Selector:
    """The selector whose name, if it has one, was taken last."""
    span = (name.start, name.end) if name else None
    if cursor.peek().text != "{":
        return Selector(span, None, (), frozenset(), is_named=True, is_info=False)
    braces = _Braces(cursor)
    start = cursor.expect("{").start
    braces.read()
    return Selector(
        name=span,
        braces=(start, cursor.last.end),
        ends=tuple(braces.ends),
        labels=frozenset(braces.labels),
        is_named=name is not None or braces.is_named,
        is_info=is_info,
    )


class _Braces:
    """What has been read since the opening brace."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.ends: list[tuple[int, bool]] = []
        self.labels: set[str] = set()
        self.is_named = False

    def read(self) -> None:
        """Reads up to the closing brace and takes it."""
        cursor = self.cursor
        while cursor.peek().text != "}":
            self._item()
            if cursor.peek().text == "}":
                break
            # `or` is a label like any other where a comma comes first.
            if cursor.word() == "or":
                self.ends.append((cursor.last.end, True))
                cursor.take()
                cursor.mark(Kind.KEYWORD)
                # An alternative that is empty would read everything.
                if cursor.peek().text == "}":
                    raise cursor.misplaced(cursor.peek())
                continue
            cursor.expect(",")
        self.ends.append((cursor.last.end, cursor.last.text not in ("{", ",")))
        cursor.expect("}")

    def _item(self) -> None:
        cursor = self.cursor
        label = cursor.expect_kind((Kind.WORD, Kind.STRING))
        if label.kind is Kind.STRING and cursor.peek().text not in _MATCHES:
            self.is_named = True
            return
        if label.kind is Kind.WORD:
            if not LABEL_NAME.fullmatch(label.text):
                raise cursor.misplaced(label)
            cursor.mark(Kind.LABEL)
        self.labels.add(label.text.strip("\"'`"))
        sign = cursor.expect_kind((Kind.OPERATOR,))
        if sign.text not in _MATCHES:
            raise cursor.misplaced(sign)
        cursor.expect_kind((Kind.STRING,))


# DOC Label lists, and what stands between a binary operator and its right side.


FILLING = frozenset(["fill", "fill_left", "fill_right"])


def read_labels(cursor: Cursor) -> None:
    """A list of label names in parentheses, as after `by`; the names are no selectors."""
    cursor.expect("(")
    while cursor.peek().text != ")":
        label = cursor.expect_kind((Kind.WORD, Kind.STRING))
        if label.kind is Kind.WORD:
            if not LABEL_NAME.fullmatch(label.text):
                raise cursor.misplaced(label)
            cursor.mark(Kind.LABEL)
        if cursor.peek().text != ")":
            cursor.expect(",")
    cursor.expect(")")


def read_matching(cursor: Cursor) -> None:
    """`bool`, `on (...) group_left (...)` and `fill (...)`, each where PromQL has it."""
    if cursor.word() == "bool":
        cursor.mark_next(Kind.KEYWORD)
    if cursor.word() in ("on", "ignoring") and cursor.peek(1).text == "(":
        cursor.mark_next(Kind.KEYWORD)
        read_labels(cursor)
        if cursor.word() in ("group_left", "group_right"):
            cursor.mark_next(Kind.KEYWORD)
            # A parenthesis here is always the list, never the right side.
            if cursor.peek().text == "(":
                read_labels(cursor)
    while cursor.word() in FILLING and cursor.peek(1).text == "(":
        cursor.mark_next(Kind.KEYWORD)
        _read_fill(cursor)


def _read_fill(cursor: Cursor) -> None:
    cursor.expect("(")
    cursor.accept("+", "-")
    if cursor.word() in ("inf", "nan"):
        cursor.mark_next(Kind.NUMBER)
    else:
        cursor.expect_kind(LITERALS)
    cursor.expect(")")


_AGGREGATORS = "avg bottomk count count_values group limit_ratio limitk max min quantile stddev stdvar sum topk"
AGGREGATORS = frozenset(_AGGREGATORS.split())

_SIGNS = frozenset(["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="])
_SET_OPERATORS = frozenset(["and", "or", "unless", "atan2"])
_METRICSQL_OPERATORS = frozenset(["default", "if", "ifnot"])
_GROUPING = frozenset(["by", "without"])
_NO_METRIC = frozenset(["atan2", "bool", "group_left", "group_right", "ignoring", "on"])
_NO_FUNCTION = _NO_METRIC | _SET_OPERATORS | _GROUPING | FILLING | {"offset"}


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query with the place of every word; after a fault the rest is as the lexer left it."""

    tokens: tuple[Token, ...]
    selectors: tuple[Selector, ...]
    calls: frozenset[str]
    features: frozenset[Feature]
    # The fixed times of `@`, and how far all negative offsets together look ahead.
    at_ms: tuple[int, ...]
    lookahead_ms: int
    fault: str | None


def parse(promql: str) -> ParsedQuery:
    """The syntax of any text."""
    reader = _Reader(lex(promql))
    fault = None
    try:
        reader.run()
    except ParseFault as found:
        fault = str(found)
    return ParsedQuery(
        tokens=tuple(reader.cursor.tokens),
        selectors=tuple(reader.selectors),
        calls=frozenset(reader.calls),
        features=frozenset(reader.modifiers.features),
        at_ms=tuple(reader.modifiers.at_ms),
        lookahead_ms=reader.modifiers.lookahead_ms,
        fault=fault,
    )


@dataclass(slots=True)
class _Level:
    """An open parenthesis: of a call, or of a group when it has no name."""

    opener: Token
    call: str = ""
    is_aggregation: bool = False
    is_grouped: bool = False
    argument: int = 0


class _Reader:
    """The walk and what it has found."""

    def __init__(self, tokens: list[Token]) -> None:
        self.cursor = Cursor(tokens)
        self.modifiers = Modifiers(self.cursor)
        self.selectors: list[Selector] = []
        self.calls: set[str] = set()
        self._levels: list[_Level] = []
        self._may_group = False

    def run(self) -> None:
        """Reads to the end, or raises the first fault."""
        _refuse_ambiguous(self.cursor.tokens)
        wants_operand = True
        while self.cursor.more:
            wants_operand = self._operand() if wants_operand else self._after_operand()
        if self._levels:
            raise ParseFault("a parenthesis is not closed", self._levels[-1].opener.start)
        if wants_operand:
            self.cursor.take()

    # Each step says whether an operand has to come next.

    def _operand(self) -> bool:
        cursor = self.cursor
        if cursor.peek().text == "{":
            self._select(None)
            return False
        before, token = cursor.last, cursor.take()
        if token.kind is Kind.WORD:
            return self._name(token)
        if token.text in ("+", "-"):
            return True
        if token.text == "(":
            self._levels.append(_Level(token))
            return True
        if token.text == ")" and self._is_empty_call(before):
            self._close()
        elif token.kind is Kind.MACRO:
            self.modifiers.macro(token)
        elif token.kind is not Kind.STRING and token.kind not in LITERALS:
            raise cursor.misplaced(token)
        return False

    def _name(self, token: Token) -> bool:
        cursor, word = self.cursor, token.text.lower()
        if cursor.word() in _GROUPING and cursor.peek(1).text == "(":
            return self._open(token, is_aggregation=True, is_grouped=True)
        if cursor.peek().text == "(":
            if word in _NO_FUNCTION:
                raise cursor.misplaced(token)
            return self._open(token, is_aggregation=word in AGGREGATORS)
        if word in _NO_METRIC:
            raise cursor.misplaced(token)
        if word in ("inf", "nan"):
            cursor.mark(Kind.NUMBER)
        else:
            self._select(cursor.mark(Kind.METRIC))
        return False

    def _select(self, name: Token | None) -> None:
        level = self._levels[-1] if self._levels else None
        is_info = name is None and level is not None and (level.call, level.argument) == ("info", 1)
        selector = read_selector(self.cursor, name, is_info=is_info)
        if len(selector.ends) > 1:
            self._use(Feature.METRICSQL)
        self.selectors.append(selector)

    def _open(self, name: Token, *, is_aggregation: bool, is_grouped: bool = False) -> bool:
        cursor, call = self.cursor, name.text.lower()
        cursor.mark(Kind.AGGREGATOR if is_aggregation else Kind.FUNCTION)
        if is_grouped:
            cursor.mark_next(Kind.KEYWORD)
            read_labels(cursor)
        if is_aggregation and call not in AGGREGATORS:
            self._use(Feature.METRICSQL)
        self.calls.add(call)
        self._levels.append(_Level(cursor.expect("("), call, is_aggregation, is_grouped))
        return True

    def _is_empty_call(self, before: Token) -> bool:
        level = self._levels[-1] if self._levels else None
        return level is not None and level.opener == before and bool(level.call) and not level.is_aggregation

    def _close(self) -> None:
        level = self._levels.pop()
        self._may_group = bool(level.call) and not level.is_grouped
        if self._may_group and self.cursor.word() in _GROUPING and not level.is_aggregation:
            self._use(Feature.METRICSQL)

    def _after_operand(self) -> bool:
        cursor = self.cursor
        may_group, self._may_group = self._may_group, False
        before, token = cursor.last, cursor.take()
        if token.kind is Kind.WORD:
            return self._word_after_operand(token, may_group=may_group)
        if token.text in _SIGNS:
            self._note_difference(before, token)
            read_matching(cursor)
            return True
        if token.text == "," and self._levels and self._levels[-1].call:
            self._levels[-1].argument += 1
            return True
        if token.text == "[":
            self.modifiers.range()
        elif token.text == "@":
            self.modifiers.at()
        elif token.text == ")" and self._levels:
            self._close()
        else:
            raise cursor.misplaced(token)
        return False

    def _word_after_operand(self, token: Token, *, may_group: bool) -> bool:
        cursor, word = self.cursor, token.text.lower()
        cursor.mark(Kind.KEYWORD)
        if word in _METRICSQL_OPERATORS or word == "keep_metric_names":
            self._use(Feature.METRICSQL)
        if word in _SET_OPERATORS or word in _METRICSQL_OPERATORS:
            read_matching(cursor)
            return True
        if word == "offset":
            self.modifiers.offset()
        elif word in _GROUPING and may_group:
            read_labels(cursor)
        elif word in ("smoothed", "anchored"):
            self._use(Feature.SMOOTHED)
        elif word != "keep_metric_names":
            raise cursor.misplaced(token)
        return False

    def _note_difference(self, before: Token, sign: Token) -> None:
        # `2h-5m` is one duration to VictoriaMetrics and a difference to Prometheus.
        after = self.cursor.peek()
        if sign.text == "-" and before.kind is after.kind is Kind.DURATION and before.end + 1 == after.start:
            self._use(Feature.METRICSQL)

    def _use(self, feature: Feature) -> None:
        self.modifiers.features.add(feature)


def _refuse_ambiguous(tokens: list[Token]) -> None:
    """Raises a fault where one engine sees a string or a comment end and another does not."""
    for token, after in itertools.pairwise(tokens):
        if token.kind is Kind.COMMENT and after.text.startswith("\r") and not after.text.startswith("\r\n"):
            raise ParseFault("a comment ends with a carriage return", after.start)
    for token in tokens:
        if token.kind is Kind.STRING and token.text[0] == "`":
            inner = token.text[1:-1]
            if (len(inner) - len(inner.rstrip("\\"))) % 2:
                raise ParseFault("a raw string ends with a backslash", token.start)
