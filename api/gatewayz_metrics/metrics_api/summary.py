"""The summary: one JSON object, every key always present.

A value is a decimal string (or a JSON number on request), and where there is none the
object says which of the two it is: `errors` names what failed, `absent` what has no data.
"""

from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from enum import StrEnum
from math import floor
from typing import Any

import orjson
from prometheus_client.utils import floatToGoString

from gatewayz_metrics.catalogue import Statistic, explain_absence
from gatewayz_metrics.catalogue.model import NumberFormat
from gatewayz_metrics.errors import NotOneNumber
from gatewayz_metrics.promql.build import Slots
from gatewayz_metrics.promql.times import format_rfc3339
from gatewayz_metrics.query import Reading, Snapshot

MISSING = "N/A"
# Four significant digits: what the docs page says of all values but counts and money.
_FOUR_DIGITS = Context(prec=4)
_CENT = Decimal("0.01")
# More digits than the longest text that is taken for a number has before its point, and two after it.
_ALL_DIGITS = 2000


class ValueFormat(StrEnum):
    """How values are written: as decimal strings, or as JSON numbers and null."""

    STRING = "string"
    NUMBER = "number"


def render_summary(
    statistics: tuple[Statistic, ...], snapshot: Snapshot, values: ValueFormat, slots: Slots, *, sources: bool = False
) -> bytes:
    """The summary of a snapshot as JSON, with the expression behind every value where `sources` asks for it."""
    metrics: dict[str, dict[str, Any]] = {}
    errors: dict[str, str] = {}
    absent: dict[str, str] = {}
    answered: dict[str, str] = {}
    for statistic in statistics:
        reading = require_one_sample(snapshot.readings[statistic.name])
        text = None if reading.value is None else format_decimal(reading.value, statistic.format)
        metrics.setdefault(statistic.section, {})[statistic.key] = _render_value(text, values)
        if reading.error is not None:
            errors[statistic.name] = reading.error.sentence
        elif text is None:
            absent[statistic.name] = explain_absence(statistic, slots.window)
        else:
            answered[statistic.name] = slots.fill(statistic.choices[reading.choice]).strip()
    document: dict[str, Any] = {"timestamp": format_rfc3339(floor(snapshot.at * 1000)), "metrics": metrics}
    # In an outage every statistic has the same error: it is given once.
    if snapshot.outage is not None:
        document["error"] = snapshot.outage.sentence
    elif errors:
        document["errors"] = errors
    if absent:
        document["absent"] = absent
    if sources:
        document["sources"] = answered
    if snapshot.warnings:
        document["warnings"] = snapshot.warnings
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def format_decimal(text: str, form: NumberFormat) -> str | None:
    """An engine's value as a decimal without exponent; None for NaN, `+Inf` or `-Inf` for infinities.

    `exact` keeps every digit, `rounded` four significant ones, `money` the cents.
    """
    value = Decimal(text)
    if value.is_nan():
        return None
    if value.is_infinite():
        return "+Inf" if value > 0 else "-Inf"
    if form == "rounded":
        value = _FOUR_DIGITS.create_decimal(value)
    if form == "money":
        return _format_cents(value)
    if not value:
        return "0"
    plain = format(value, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _format_cents(value: Decimal) -> str:
    """An amount with two digits after the point, half a cent rounded away from zero; zero without a sign."""
    with localcontext(prec=_ALL_DIGITS):
        cents = value.quantize(_CENT, ROUND_HALF_UP)
    return format(cents if cents else abs(cents), "f")


def format_go_float(value: float) -> str:
    """A float as Go and OpenMetrics write it: `1.0`, `0.005`, `1e+06`."""
    return str(floatToGoString(value))


def require_one_sample(reading: Reading) -> Reading:
    """The reading, or the error NotOneNumber when the expression returned several series."""
    if reading.size <= 1:
        return reading
    return Reading(error=NotOneNumber(reading.size))


def _render_value(text: str | None, values: ValueFormat) -> object:
    if values is ValueFormat.STRING:
        return MISSING if text is None else text
    # JSON has no infinities.
    if text is None or text.endswith("Inf"):
        return None
    # The digits are copied: a float would round a count above 2**53.
    return orjson.Fragment(text)
