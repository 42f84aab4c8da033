"""The summary: one JSON object, every key always present.

A value is a decimal string (or a JSON number on request), and where there is none the
object says which of the two it is: `errors` names what failed, `absent` what has no data.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from gatewayz_metrics.catalogue import Statistic
from gatewayz_metrics.errors import NotOneNumber
from gatewayz_metrics.query import Reading, Snapshot
from gatewayz_metrics.render.numbers import decimal

MISSING = "N/A"


class Values(StrEnum):
    """How the summary writes its values."""

    STRING = "string"
    NUMBER = "number"


def summary(statistics: tuple[Statistic, ...], snapshot: Snapshot, values: Values, window: str) -> bytes:
    """The summary of a snapshot, as JSON."""
    metrics: dict[str, dict[str, Any]] = {}
    errors: dict[str, str] = {}
    absent: dict[str, str] = {}
    for statistic in statistics:
        reading = _single(snapshot.readings[statistic.name])
        text = decimal(reading.samples[0].value, statistic.format) if reading.samples else None
        metrics.setdefault(statistic.section, {})[statistic.key] = _value(text, values)
        if reading.error is not None:
            errors[statistic.name] = reading.error.sentence
        elif text is None:
            absent[statistic.name] = _why_absent(statistic, window)
    document: dict[str, Any] = {"timestamp": _timestamp(snapshot.at), "metrics": metrics}
    if snapshot.outage is not None:
        document["error"] = snapshot.outage.sentence
    elif errors:
        document["errors"] = errors
    if absent:
        document["absent"] = absent
    if snapshot.warnings:
        document["warnings"] = snapshot.warnings
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _single(reading: Reading) -> Reading:
    """A statistic is one number; an expression that gives several is a fault of the catalogue."""
    if len(reading.samples) <= 1:
        return reading
    return Reading(error=NotOneNumber(len(reading.samples)))


def _value(text: str | None, values: Values) -> object:
    if values is Values.STRING:
        return MISSING if text is None else text
    if text is None or text.endswith("Inf"):
        return None
    # The digits go out as they are: a float would lose those of a large count.
    return orjson.Fragment(text)


def _why_absent(statistic: Statistic, window: str) -> str:
    sources = ", ".join(statistic.sources)
    return f"No data: no matching series of {sources}, or nothing happened within the last {window}."


def _timestamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
