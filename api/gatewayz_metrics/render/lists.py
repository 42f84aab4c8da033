"""Lists for pickers: each in the words of the plugin that reads it."""

from collections.abc import Iterable
from typing import Any

from gatewayz_metrics.datasource.options import Choice, Entry, Knob

Row = dict[str, Any]


def metrics(entries: Iterable[Entry]) -> list[Row]:
    """The metric picker with the builder's fields."""
    return [
        {"value": entry.value, "label": entry.label, "payloads": [_knob(knob) for knob in entry.knobs]}
        for entry in entries
    ]


def choices(found: Iterable[Choice]) -> list[Row]:
    """The options of one field."""
    return [{"label": choice.label or choice.value, "value": choice.value} for choice in found]


def variable(values: Iterable[str]) -> list[Row]:
    """A variable's values: every row has both names, or the plugin takes neither."""
    return [{"__text": value, "__value": value} for value in values]


def pairs(values: Iterable[str]) -> list[Row]:
    """Names and values for the first plugin, which mangles empty ones."""
    return [{"text": value, "value": value} for value in values if value]


def tags(values: Iterable[str]) -> list[Row]:
    """Keys or values of ad-hoc filters."""
    return [{"text": value, "value": value} for value in values]


def _knob(knob: Knob) -> Row:
    row: Row = {"name": knob.name, "label": knob.label, "type": knob.type}
    if knob.options:
        row["options"] = choices(knob.options)
    if knob.placeholder:
        row["placeholder"] = knob.placeholder
    return row
