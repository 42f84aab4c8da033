"""Slots of catalogue expressions: `$selector` inside braces, `$window` inside brackets."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gatewayz_metrics.promql.matchers import quote

# Every sample that this service exports carries the marker, and no selector of the
# catalogue sees a marked series: when a Prometheus scrapes us and we ask that same
# Prometheus, our own numbers never come back in.
EXPORT_LABEL = "aggregated_by"
EXPORT_VALUE = "gatewayz-metrics"

_SLOT = re.compile(r"\$(selector|window)\b")


@dataclass(frozen=True, slots=True)
class Slots:
    """What a deployment puts into the slots."""

    selector: str = ""
    window: str = "5m"

    def fill(self, template: str) -> str:
        """The template as PromQL."""
        own = f'{EXPORT_LABEL}=""'
        values = {"selector": f"{self.selector},{own}" if self.selector else own, "window": self.window}
        return _SLOT.sub(lambda slot: values[slot[1]], template)


def count_selectors(template: str) -> int:
    """How many selectors a template has; a measure of what it costs to evaluate."""
    return template.count("$selector")


def with_label(expression: str, label: str, value: str) -> str:
    """The expression with one label set on every series of its result."""
    # An empty source label always matches the empty pattern. `$` would start a group reference.
    return f'label_replace({expression},"{label}",{quote(value.replace("$", "$$"))},"","")'


# DOC Several expressions in one instant query, told apart by a label in the answer.
#
# `or` compares label sets without the metric name, so parts joined under their own
# names would silently swallow one another. Each part gets a label of its own instead,
# which makes every pair of parts disjoint.
#


PART_LABEL = "_part"


class Weighted(Protocol):
    """Something with a cost that can be shared out."""

    @property
    def weight(self) -> int:
        """The cost, in any unit that adds up."""


W = TypeVar("W", bound=Weighted)


def batch(parts: Iterable[tuple[str, str]]) -> str:
    """One expression for all `(name, expression)` pairs; the name comes back as PART_LABEL."""
    return _or([with_label(expression, PART_LABEL, name) for name, expression in parts])


def _or(expressions: Sequence[str]) -> str:
    # A balanced tree: a chain would copy the growing left side once per part.
    if len(expressions) == 1:
        return expressions[0]
    half = len(expressions) // 2
    return f"({_or(expressions[:half])} or {_or(expressions[half:])})"


def balance(items: Iterable[W], groups: int) -> list[list[W]]:
    """The items in at most so many groups of about equal weight, none empty."""
    shares: list[list[W]] = [[] for _ in range(groups)]
    loads = [0] * groups
    for item in sorted(items, key=lambda item: -item.weight):
        lightest = loads.index(min(loads))
        shares[lightest].append(item)
        loads[lightest] += item.weight
    return [share for share in shares if share]
