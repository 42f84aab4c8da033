"""Label filters of a payload as matchers."""

from collections.abc import Iterable, Iterator

from gatewayz_metrics.datasource.payload import Payload
from gatewayz_metrics.promql.filters import Filter, matchers_of

# What a payload's names mean before they mean labels; such a label is named within `filters`.
OPTIONS = frozenset(["function", "by", "window", "format", "legend", "instant", "join", "step", "unit", "filters"])

# What "All" may arrive as; a variable's own all value comes as it was written.
_EVERYTHING = frozenset([".*", "$__all", "All"])


def chosen(payload: Payload, labels: Iterable[str]) -> str:
    """The matchers for those labels that the payload gives values, and for its `filters`."""
    names = [label for label in labels if label not in OPTIONS]
    return matchers_of([*_named(payload, names), *_listed(payload.values.get("filters"))])


def _named(payload: Payload, labels: Iterable[str]) -> Iterator[Filter]:
    for label in labels:
        values = payload.several(label)
        if values and not _EVERYTHING.intersection(values):
            yield _filter(label, values)


def _listed(filters: object) -> Iterator[Filter]:
    """`{"job": "api"}`, or items as ad-hoc filters have them."""
    if isinstance(filters, dict):
        yield from _named(Payload.of(filters), filters)
    elif isinstance(filters, list):
        yield from (Filter.of(item) for item in filters if isinstance(item, dict))


def _filter(label: str, values: tuple[str, ...]) -> Filter:
    if values == (".+",):
        return Filter(label, "=~", ".+")
    return Filter(label, "=", values[0]) if len(values) == 1 else Filter(label, "=|", values[0], values)
