"""Label lists, and what stands between a binary operator and its right side."""

from gatewayz_metrics.promql.cursor import Cursor
from gatewayz_metrics.promql.lexer import Kind
from gatewayz_metrics.promql.modifiers import LITERALS
from gatewayz_metrics.promql.text import LABEL_NAME

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
