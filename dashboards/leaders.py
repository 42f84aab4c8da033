"""The few series that matter over the whole selected range, and the others as one line: more than that is a tangle."""

from dataclasses import replace
from typing import Final

from gatewayz_metrics.promql.build import aggregate, top

from dashboards.expressions import RANGE, Expression
from dashboards.queries import Line

MOST: Final = 8
REST: Final = "the rest"
# Labels that have more values than a graph can show lines.
MANY: Final = frozenset(["provider", "model", "path", "gateway"])


def largest(growth: Expression) -> str:
    """The series that grew most over the range; chosen at its end, so that no line comes and goes in between."""
    return top(MOST, growth.promql.replace(f"[{RANGE}]", f"[{RANGE}] @ end()"))


def highest(gauge: Expression) -> str:
    """The series that were highest on average over the range."""
    return top(MOST, f"avg_over_time(({gauge.promql})[{RANGE}:] @ end())")


def among(drawn: Expression, chosen: str) -> Expression:
    """Only the chosen series, which have the same labels."""
    return replace(drawn, promql=f"({drawn.promql}) and {chosen}")


def with_rest(drawn: Expression, chosen: str, legend: str) -> list[Line]:
    """The chosen series of what can be added up, and the sum of all others."""
    others = replace(drawn, promql=aggregate("sum", (), f"({drawn.promql}) unless {chosen}"))
    return [Line(among(drawn, chosen), legend), Line(others, REST)]
