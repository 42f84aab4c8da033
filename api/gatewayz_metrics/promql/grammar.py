"""The grammar of PromQL as far as it decides what a word is, in one walk without recursion.

It accepts a little more than any engine does, as it checks no types, and never less than Prometheus. What
it refuses is no query, or one that engines read in different ways.
"""

import itertools
from dataclasses import dataclass
from typing import Self

from gatewayz_metrics.promql.clauses import (
    FILLING,
    LITERALS,
    Feature,
    Modifiers,
    Selector,
    read_labels,
    read_matching,
    read_selector,
)
from gatewayz_metrics.promql.lexer import Cursor, Kind, ParseFault, Token, lex

_AGGREGATORS = "avg bottomk count count_values group limit_ratio limitk max min quantile stddev stdvar sum topk"
AGGREGATORS = frozenset(_AGGREGATORS.split())

_SIGNS = frozenset(["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="])
_SET_OPERATORS = frozenset(["and", "or", "unless", "atan2"])
_METRICSQL_OPERATORS = frozenset(["default", "if", "ifnot"])
_GROUPING = frozenset(["by", "without"])
_NO_METRIC = frozenset(["atan2", "bool", "group_left", "group_right", "ignoring", "on"])
_NO_FUNCTION = _NO_METRIC | _SET_OPERATORS | _GROUPING | FILLING | {"offset"}


@dataclass(frozen=True, slots=True)
class Syntax:
    """A query with the place of every word; after a fault the rest is as the lexer left it."""

    text: str
    tokens: tuple[Token, ...]
    selectors: tuple[Selector, ...]
    # The names of functions and aggregations, in lower case.
    calls: frozenset[str]
    features: frozenset[Feature]
    # The fixed times of `@`, and how far all negative offsets together look ahead.
    at_ms: tuple[int, ...]
    lookahead_ms: int
    # How far before its own time it reads: the ranges, subqueries and offsets that stand in one another, in sum.
    lookback_ms: int
    # Why it cannot be judged, as a clause that names the place.
    fault: str | None

    @classmethod
    def read(cls, text: str) -> Self:
        """The syntax of any text."""
        reader = _Reader(lex(text))
        fault = None
        try:
            reader.run()
        except ParseFault as found:
            fault = str(found)
        return cls(
            text=text,
            tokens=tuple(reader.cursor.tokens),
            selectors=tuple(reader.selectors),
            calls=frozenset(reader.calls),
            features=frozenset(reader.modifiers.features),
            at_ms=tuple(reader.modifiers.at_ms),
            lookahead_ms=reader.modifiers.lookahead_ms,
            lookback_ms=reader.lookback_ms,
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
    # The furthest look back of the operands in it that are complete.
    lookback_ms: int = 0


class _Reader:
    """The walk and what it has found."""

    def __init__(self, tokens: list[Token]) -> None:
        self.cursor = Cursor(tokens)
        self.modifiers = Modifiers(self.cursor)
        self.selectors: list[Selector] = []
        self.calls: set[str] = set()
        self._levels: list[_Level] = []
        self._may_group = False
        # Of the operand that was read last, and the furthest of those outside of all parentheses.
        self._operand_ms = 0
        self.lookback_ms = 0

    def run(self) -> None:
        """Reads to the end, or raises the first fault."""
        _refuse_ambiguous(self.cursor.tokens)
        wants_operand = True
        while self.cursor.more:
            wants_operand = self._operand() if wants_operand else self._after_operand()
            if wants_operand:
                self._end_operand()
        self._end_operand()
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
            self._read_labels()
        if is_aggregation and call not in AGGREGATORS:
            self._use(Feature.METRICSQL)
        self.calls.add(call)
        self._levels.append(_Level(cursor.expect("("), call, is_aggregation, is_grouped))
        return True

    def _is_empty_call(self, before: Token) -> bool:
        level = self._levels[-1] if self._levels else None
        return level is not None and level.opener == before and bool(level.call) and not level.is_aggregation

    def _end_operand(self) -> None:
        """Notes how far the last operand looks back, where an operator, a comma or a parenthesis ends it."""
        holder = self._levels[-1] if self._levels else self
        holder.lookback_ms = max(holder.lookback_ms, self._operand_ms)
        self._operand_ms = 0

    def _close(self) -> None:
        self._end_operand()
        level = self._levels.pop()
        self._operand_ms = level.lookback_ms
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
            self._read_matching()
            return True
        if token.text == "," and self._levels and self._levels[-1].call:
            self._levels[-1].argument += 1
            return True
        if token.text == "[":
            self._operand_ms += self.modifiers.range()
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
            self._read_matching()
            return True
        if word == "offset":
            self._operand_ms += self.modifiers.offset()
        elif word in _GROUPING and may_group:
            self._read_labels()
        elif word in ("smoothed", "anchored"):
            self._use(Feature.SMOOTHED)
        elif word != "keep_metric_names":
            raise cursor.misplaced(token)
        return False

    def _read_labels(self) -> None:
        if read_labels(self.cursor):
            self._use(Feature.NAME_LABEL)

    def _read_matching(self) -> None:
        if read_matching(self.cursor):
            self._use(Feature.NAME_LABEL)

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
