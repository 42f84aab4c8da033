"""What a range cache must know of a query, decided for safety: what is not understood is not cached."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gatewayz_metrics.promql.clauses import Feature
from gatewayz_metrics.promql.grammar import AGGREGATORS, Syntax

# The clock, and the functions that read it when they get no argument.
_CLOCK = "day_of_month day_of_week day_of_year days_in_month end hour minute month range start step time year"
_BOUNDS = frozenset(["start", "end", "range"])
_LIMITS = frozenset(["limitk", "limit_ratio"])
_PROMETHEUS = """
    abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp clamp_max
    clamp_min cos cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv
    double_exponential_smoothing exp first_over_time floor histogram_avg histogram_count histogram_fraction
    histogram_quantile histogram_quantiles histogram_stddev histogram_stdvar histogram_sum holt_winters hour
    idelta increase irate label_join label_replace last_over_time ln log10 log2 mad_over_time max_over_time
    min_over_time minute month pi predict_linear present_over_time quantile_over_time rad rate resets round
    scalar sgn sin sinh sort sort_by_label sort_by_label_desc sort_desc sqrt stddev_over_time
    stdvar_over_time step sum_over_time tan tanh time timestamp ts_of_first_over_time ts_of_last_over_time
    ts_of_max_over_time ts_of_min_over_time vector year
"""
# What reads its arguments and, at most, the clock: no series of its own.
FUNCTIONS = frozenset(_PROMETHEUS.split()) | AGGREGATORS
_PURE = FUNCTIONS - frozenset(_CLOCK.split())


class BypassReason(StrEnum):
    """Why a query goes past the cache; short enough for a header and a metric label."""

    SYNTAX = "syntax"
    MACRO = "macro"
    METRICSQL = "metricsql"
    BOUNDS = "bounds"
    EXPRESSION = "duration-expression"
    SMOOTHED = "smoothed"
    LIMIT = "limit"
    FUNCTION = "function"
    NAME_LABEL = "name-label"


_FEATURES = {
    Feature.MACRO: BypassReason.MACRO,
    Feature.METRICSQL: BypassReason.METRICSQL,
    Feature.BOUNDS: BypassReason.BOUNDS,
    Feature.EXPRESSION: BypassReason.EXPRESSION,
    Feature.SMOOTHED: BypassReason.SMOOTHED,
    # With Prometheus' promql-delayed-name-removal whether a name is left depends on the first step of the range.
    Feature.NAME_LABEL: BypassReason.NAME_LABEL,
}


@dataclass(frozen=True, slots=True)
class CacheTraits:
    """The facts about one query."""

    reason: BypassReason | None
    # How far beyond its own time the query may read, and the times it reads whatever its own time is.
    lookahead_ms: int
    at_ms: tuple[int, ...]
    # Reads neither series nor the clock: `1+1`, `vector(1)`.
    is_plain: bool

    @property
    def cacheable(self) -> bool:
        """Whether a point depends on nothing but the text, its time and the step."""
        return self.reason is None

    def is_settled(self, horizon_ms: int) -> bool:
        """Whether every fixed time it reads is old enough to stay as it is."""
        return all(at + self.lookahead_ms <= horizon_ms for at in self.at_ms)


def judge(syntax: Syntax, unresolved: Iterable[str]) -> CacheTraits:
    """The traits of a query in which these macros and variables are left.

    Grafana's own macros all have `__` in their names; what else is written like one may be a regex's `$`.
    """
    holds_macro = any("__" in name for name in unresolved)
    return CacheTraits(
        reason=BypassReason.MACRO if holds_macro else _find_reason(syntax),
        lookahead_ms=syntax.lookahead_ms,
        at_ms=syntax.at_ms,
        is_plain=_is_plain(syntax),
    )


def _is_plain(syntax: Syntax) -> bool:
    if syntax.fault or syntax.selectors or syntax.features or not syntax.calls <= _PURE:
        return False
    # Where the steps of a subquery fall depends on the clock.
    return all(token.text != "[" for token in syntax.tokens)


def _find_reason(syntax: Syntax) -> BypassReason | None:
    if syntax.fault:
        return BypassReason.SYNTAX
    for feature, reason in _FEATURES.items():
        if feature in syntax.features:
            return reason
    if syntax.calls & _BOUNDS:
        return BypassReason.BOUNDS
    if syntax.calls & _LIMITS:
        return BypassReason.LIMIT
    # info() is experimental and looks at the whole range; MetricsQL has functions that do, too.
    return None if syntax.calls <= FUNCTIONS else BypassReason.FUNCTION
