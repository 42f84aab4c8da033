"""The PromQL builder: catalogue, JSON datasource and dashboards put their expressions together here.

An expression is text. Until a deployment is known it is a template with two slots: `$selector` inside the
braces of every selector, `$window` inside the brackets of every range.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gatewayz_metrics.promql.lexer import METRIC_NAME, Kind, Token
from gatewayz_metrics.promql.matchers import quote
from gatewayz_metrics.promql.parser import parse

# Every sample that this service exports carries the marker, and no selector of the
# catalogue sees a marked series: when a Prometheus scrapes us and we ask that same
# Prometheus, our own numbers never come back in.
EXPORT_LABEL = "aggregated_by"
EXPORT_VALUE = "gatewayz-metrics"

WINDOW = "$window"

_SLOT = re.compile(r"\$(selector|window)\b")
_SELECTOR = re.compile(rf"({METRIC_NAME.pattern})\{{\$selector[^}}]*\}}")


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


def find_metrics(template: str) -> tuple[str, ...]:
    """The metrics that a template selects, each once."""
    return tuple(dict.fromkeys(_SELECTOR.findall(template)))


def find_selector(template: str) -> str:
    """The first selector of a template, the expression around it left away."""
    found = _SELECTOR.search(template)
    return found[0] if found else ""


# The parts of an expression. Each returns PromQL text, or a template when it is given one.


def selector(metric: str) -> str:
    """The series of a metric that the deployment's matchers leave."""
    return f"{metric}{{$selector}}"


def aggregate(function: str, by: Iterable[str], expression: str) -> str:
    """One series per combination of the labels `by`; one series alone without labels."""
    labels = ", ".join(by)
    return f"{function} by ({labels}) ({expression})" if labels else f"{function}({expression})"


def growth(function: str, series: str, window: str = WINDOW) -> str:
    """How fast (`rate`) or how much (`increase`) counters grow within a window."""
    return f"{function}({series}[{window}])"


def ratio(numerator: str, denominator: str) -> str:
    """A quotient, without a value where the denominator is not positive: never 0/0."""
    return f"{numerator} / ({denominator} > 0)"


def share(part: str, whole: str) -> str:
    """The part of a whole, 0 to 1. It is zero where only the whole exists: a counter starts with its first event."""
    return ratio(f"({part} or 0 * {whole})", whole)


def histogram_quantile(quantile: float, buckets: str) -> str:
    """A quantile of the buckets' growth; the buckets keep their label `le`."""
    return f"histogram_quantile({quantile:g}, {buckets})"


def first_of(expressions: Sequence[str], per: Sequence[str] = ()) -> str:
    """The series of the first expression that has any, chosen per combination of some labels: two are never mixed."""
    first, *others = expressions
    if not others:
        return first
    return f"({first} or ({first_of(others, per)} unless on ({', '.join(per)}) ({first})))"


def top(count: int, expression: str) -> str:
    """The largest series."""
    return f"topk({count}, {expression})"


def with_label(expression: str, label: str, value: str) -> str:
    """The expression with one label set on every series of its result."""
    # An empty source label always matches the empty pattern. `$` would start a group reference.
    return f'label_replace({expression},"{label}",{quote(value.replace("$", "$$"))},"","")'


# Templates over one metric. A histogram exports `_bucket`, `_sum` and `_count`, a summary the last two.
# https://prometheus.io/docs/concepts/metric_types/


def total(metric: str, by: Iterable[str] = ()) -> str:
    """The sum of a metric's series."""
    return aggregate("sum", by, selector(metric))


def total_growth(function: str, metric: str, by: Iterable[str] = ()) -> str:
    """The sum of the growth of a counter's series; in this order, or a restart would look like a jump."""
    return aggregate("sum", by, growth(function, selector(metric)))


def bucket_growth(function: str, histogram: str, by: Iterable[str] = ()) -> str:
    """The growth of each bucket of a histogram."""
    return total_growth(function, f"{histogram}_bucket", (*by, "le"))


def quantile_of(histogram: str, quantile: float, by: Iterable[str] = (), function: str = "rate") -> str:
    """A quantile of what a histogram observed within the window."""
    return histogram_quantile(quantile, bucket_growth(function, histogram, by))


def mean_of(metric: str, by: Collection[str] = (), function: str = "rate") -> str:
    """The mean of what a histogram or a summary observed within the window."""
    return ratio(total_growth(function, f"{metric}_sum", by), total_growth(function, f"{metric}_count", by))


# An expression made into another. Places are found by tokens, so that text in strings stays.


def regroup(promql: str, labels: Collection[str], by: Iterable[str]) -> str:
    """An expression with every `by` that lists exactly these labels grouping by others instead.

    Raises ValueError with a sentence when there is no such `by`.
    """
    places = list(_groupings(parse(promql).tokens, set(labels)))
    if not places:
        raise ValueError("The grouping of this family is fixed by its expression; leave `by` out.")
    grouping = f"({', '.join(by)})"
    return splice(promql, [(start, end, grouping) for start, end in places])


def shift(promql: str, offset: str) -> str:
    """An expression whose selectors, all in braces, look back by an offset such as `7d`."""
    return splice(promql, [(end, end, f" offset {offset}") for end in _selector_ends(parse(promql).tokens)])


def splice(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    """The text with what stands between two places exchanged; changes are `(start, end, new text)` in order."""
    pieces: list[str] = []
    at = 0
    for start, end, piece in changes:
        pieces += (text[at:start], piece)
        at = end
    return "".join([*pieces, text[at:]])


def _groupings(tokens: Iterable[Token], labels: set[str]) -> Iterator[tuple[int, int]]:
    """Where the lists after `by` stand that name these labels, parentheses included."""
    solid = [token for token in tokens if not token.is_blank]
    for number, token in enumerate(solid[:-1]):
        if token.kind in (Kind.WORD, Kind.KEYWORD) and token.text.lower() == "by" and solid[number + 1].text == "(":
            closing = next(t for t in solid[number + 1 :] if t.text == ")")
            named = {t.text for t in solid if solid[number + 1].start < t.start < closing.start and t.text != ","}
            if named == labels:
                yield solid[number + 1].start, closing.end


def _selector_ends(tokens: Iterable[Token]) -> Iterator[int]:
    """Where selectors end, their ranges included."""
    solid = [token for token in tokens if not token.is_blank]
    for number, token in enumerate(solid):
        if token.text == "}":
            following = solid[number + 1 :]
            is_range = bool(following) and following[0].text == "["
            yield next(t for t in following if t.text == "]").end if is_range else token.end


# Several expressions in one instant query. `or` compares label sets without the metric name, so parts under their
# own names would hide one another. Each part gets a label of its own, which makes every pair of parts disjoint.

PART_LABEL = "_part"


def batch(parts: Iterable[tuple[str, str]]) -> str:
    """One expression for all `(name, expression)` pairs; the name comes back as PART_LABEL."""
    return _or([with_label(expression, PART_LABEL, name) for name, expression in parts])


def _or(expressions: Sequence[str]) -> str:
    # A balanced tree: a chain would copy the growing left side once per part.
    if len(expressions) == 1:
        return expressions[0]
    half = len(expressions) // 2
    return f"({_or(expressions[:half])} or {_or(expressions[half:])})"
