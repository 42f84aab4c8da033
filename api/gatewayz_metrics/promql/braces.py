"""A selector and what stands between its braces."""

from dataclasses import dataclass

from gatewayz_metrics.promql.cursor import Cursor
from gatewayz_metrics.promql.lexer import Kind, Token
from gatewayz_metrics.promql.text import LABEL_NAME

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
