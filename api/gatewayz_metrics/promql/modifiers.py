"""What follows a selector or an expression: `[5m:1m]`, `offset -5m`, `@ end()`."""

from enum import StrEnum

from gatewayz_metrics.promql.cursor import Cursor, Fault
from gatewayz_metrics.promql.lexer import Kind, Token
from gatewayz_metrics.promql.macros import is_known
from gatewayz_metrics.promql.values import milliseconds

LITERALS = frozenset([Kind.NUMBER, Kind.DURATION])

# Prometheus 3 computes durations from these.
_WORDS = frozenset(["max", "min", "range", "step"])
_SIGNS = frozenset("+-*/%^(),")
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
            raise Fault(f"{token.text[:40]!r} could stand for anything", token.start)
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
        elif token.kind not in LITERALS and token.text not in _SIGNS:
            raise self.cursor.misplaced(token)


def _instant(token: Token) -> int:
    try:
        ms = milliseconds(token.text)
    except (OverflowError, ValueError) as error:
        raise Fault(f"{token.text[:20]!r} is out of range", token.start) from error
    if ms >= _LARGEST_MS:
        raise Fault(f"{token.text[:20]!r} is out of range", token.start)
    return ms
