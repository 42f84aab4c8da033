"""Several expressions in one instant query, told apart by a label in the answer.

`or` compares label sets without the metric name, so parts joined under their own
names would silently swallow one another. Each part gets a label of its own instead,
which makes every pair of parts disjoint.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from gatewayz_metrics.promql.template import with_label

PART_LABEL = "_part"


class Weighted(Protocol):
    """Something with a cost that can be shared out."""

    @property
    def weight(self) -> int:
        """The cost, in any unit that adds up."""


W = TypeVar("W", bound=Weighted)


def join(parts: Iterable[tuple[str, str]]) -> str:
    """One expression for all `(name, expression)` pairs; the name comes back as PART_LABEL."""
    return _or([with_label(expression, PART_LABEL, name) for name, expression in parts])


def _or(expressions: Sequence[str]) -> str:
    # A balanced tree: a chain would copy the growing left side once per part.
    if len(expressions) == 1:
        return expressions[0]
    half = len(expressions) // 2
    return f"({_or(expressions[:half])} or {_or(expressions[half:])})"


def share_out(items: Iterable[W], groups: int) -> list[list[W]]:
    """The items in at most so many groups of about equal weight, none empty."""
    shares: list[list[W]] = [[] for _ in range(groups)]
    loads = [0] * groups
    for item in sorted(items, key=lambda item: -item.weight):
        lightest = loads.index(min(loads))
        shares[lightest].append(item)
        loads[lightest] += item.weight
    return [share for share in shares if share]
