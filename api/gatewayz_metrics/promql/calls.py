"""Which argument of which call a token stands in, for text that may not even be valid PromQL."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gatewayz_metrics.promql.lexer import Kind, Token

_CLOSES = {")": "(", "}": "{", "]": "["}


class Place(NamedTuple):
    """A token, the call whose argument it directly is, and what stands before it."""

    token: Token
    call: str
    argument: int
    before: str


class _Level:
    """An open parenthesis, brace or bracket."""

    def __init__(self, opener: str, call: str = "") -> None:
        self.opener = opener
        self.call = call
        self.argument = 0


def places(tokens: Iterable[Token]) -> Iterator[Place]:
    """Every token with its place; `call` is empty outside the parentheses of a call."""
    levels = [_Level("")]
    before = Token(Kind.SPACE, "", 0)
    for token in tokens:
        yield Place(token, levels[-1].call, levels[-1].argument, before.text)
        # A backslash of Grafana's formatter does not part a sign from what it belongs to.
        if token.is_blank or token.text == "\\":
            continue
        if token.text in ("(", "{", "["):
            called = token.text == "(" and before.kind is Kind.WORD
            levels.append(_Level(token.text, before.text.lower() if called else ""))
        elif _CLOSES.get(token.text) == levels[-1].opener:
            levels.pop()
        elif token.text == ",":
            levels[-1].argument += 1
        before = token
