"""What an independent parser makes of a query."""

from typing import Any, NamedTuple

import promql_parser


class Read(NamedTuple):
    """A selector of the parsed tree."""

    name: str | None
    matchers: list[tuple[str, str, str]]


def parses(promql: str) -> bool:
    """Whether the parser accepts the text."""
    try:
        promql_parser.parse(promql)
    except ValueError:
        return False
    return True


def selectors(promql: str) -> list[Read]:
    """Every vector selector of the tree, in order."""
    found: list[Read] = []
    stack: list[Any] = [promql_parser.parse(promql)]
    while stack:
        node = stack.pop()
        if isinstance(node, promql_parser.VectorSelector):
            matchers = [(m.name, str(m.op).removeprefix("MatchOp."), m.value) for m in node.matchers.matchers]
            found.append(Read(node.name, matchers))
        elif isinstance(node, promql_parser.MatrixSelector):
            stack.append(node.vector_selector)
        elif isinstance(node, promql_parser.BinaryExpr):
            stack += [node.rhs, node.lhs]
        elif isinstance(node, promql_parser.Call):
            stack += reversed(node.args)
        elif isinstance(node, promql_parser.AggregateExpr):
            stack += [node.expr, *([node.param] if node.param is not None else [])]
        elif hasattr(node, "expr"):
            stack.append(node.expr)
    return found
