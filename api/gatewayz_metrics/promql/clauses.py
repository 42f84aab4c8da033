"""The parts of a query that stand in one place: selectors, label lists, modifiers, vector matching.

Each function reads from a cursor and notes there what each word turns out to be.
"""

from dataclasses import dataclass
from enum import StrEnum

from gatewayz_metrics.promql.lexer import LABEL_NAME, Cursor, Kind, ParseFault, Token
from gatewayz_metrics.promql.macros import is_known
from gatewayz_metrics.promql.times import parse_literal_ms

# What follows a selector or an expression: `[5m:1m]`, `offset -5m`, `@ end()`.

LITERALS = frozenset([Kind.NUMBER, Kind.DURATION])

# Prometheus 3 computes durations from these.
_WORDS = frozenset(["max", "min", "range", "step"])
_DURATION_SIGNS = frozenset("+-*/%^(),")
_LARGEST_MS = 2**63


class Feature(StrEnum):
    """What a query uses beyond selectors, functions and operators."""

    BOUNDS = "@ start() or @ end()"
    EXPRESSION = "a computed duration"
    SMOOTHED = "smoothed or anchored"
    METRICSQL = "MetricsQL"
    MACRO = "a macro"
    NAME_LABEL = "__name__ as a grouping label"


class Modifiers:
    """The modifiers of a query as they are read, and what they say of its times."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.features: set[Feature] = set()
        self.at_ms: list[int] = []
        self.lookahead_ms = 0

    def range(self) -> int:
        """A range or a subquery whose bracket was taken last; returns its milliseconds, 0 when it is computed."""
        first = self.cursor.peek()
        length = self._duration()
        if not length:
            raise self.cursor.misplaced(self.cursor.peek())
        if self.cursor.accept(":"):
            # A subquery may leave its resolution to the engine.
            self._duration()
        self.cursor.expect("]")
        return _instant(first) if length == 1 and first.kind in LITERALS else 0

    def offset(self) -> int:
        """What follows `offset`; returns by how many milliseconds it looks back, 0 when it is computed or ahead."""
        sign = self._sign()
        if self.cursor.word() in _WORDS:
            self.cursor.mark_next(Kind.FUNCTION)
        elif self.cursor.peek().text != "(":
            token = self.cursor.expect_kind({*LITERALS, Kind.MACRO})
            if token.kind is Kind.MACRO:
                self.macro(token)
                return 0
            ms = sign * _instant(token)
            self.lookahead_ms += max(0, -ms)
            return max(0, ms)
        self.features.add(Feature.EXPRESSION)
        self.cursor.expect("(")
        self._duration()
        self.cursor.expect(")")
        return 0

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


# A selector and what stands between its braces.

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


# Label lists, and what stands between a binary operator and its right side.

FILLING = frozenset(["fill", "fill_left", "fill_right"])


def read_labels(cursor: Cursor) -> bool:
    """A list of label names in parentheses, as after `by`; the names are no selectors. Whether `__name__` is in it."""
    cursor.expect("(")
    holds_name = False
    while cursor.peek().text != ")":
        label = cursor.expect_kind((Kind.WORD, Kind.STRING))
        if label.kind is Kind.WORD:
            if not LABEL_NAME.fullmatch(label.text):
                raise cursor.misplaced(label)
            cursor.mark(Kind.LABEL)
        # An escape in a string can write it in many ways.
        holds_name = holds_name or label.text.strip("\"'`") == NAME_LABEL or "\\" in label.text
        if cursor.peek().text != ")":
            cursor.expect(",")
    cursor.expect(")")
    return holds_name


def read_matching(cursor: Cursor) -> bool:
    """`bool`, `on (...) group_left (...)` and `fill (...)`, each where PromQL has it; whether a list has `__name__`."""
    holds_name = False
    if cursor.word() == "bool":
        cursor.mark_next(Kind.KEYWORD)
    if cursor.word() in ("on", "ignoring") and cursor.peek(1).text == "(":
        cursor.mark_next(Kind.KEYWORD)
        holds_name = read_labels(cursor)
        if cursor.word() in ("group_left", "group_right"):
            cursor.mark_next(Kind.KEYWORD)
            # A parenthesis here is always the list, never the right side.
            if cursor.peek().text == "(":
                holds_name |= read_labels(cursor)
    while cursor.word() in FILLING and cursor.peek(1).text == "(":
        cursor.mark_next(Kind.KEYWORD)
        _read_fill(cursor)
    return holds_name


def _read_fill(cursor: Cursor) -> None:
    cursor.expect("(")
    cursor.accept("+", "-")
    if cursor.word() in ("inf", "nan"):
        cursor.mark_next(Kind.NUMBER)
    else:
        cursor.expect_kind(LITERALS)
    cursor.expect(")")
