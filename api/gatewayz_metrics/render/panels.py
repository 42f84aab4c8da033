"""What goes with every element of a `/query` answer: query, notices, names.

The shapes are those that Grafana's `toDataFrame` takes,
https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/dataframe/processDataFrame.ts.
"""

from collections.abc import Iterable
from typing import Any

from gatewayz_metrics.catalogue import grafana_unit
from gatewayz_metrics.datasource.answers import Answer, Curve, Failure
from gatewayz_metrics.render.legends import metric_text, series_name, short_names

Element = dict[str, Any]

_LONGEST_NAME = 200


def meta(answer: Answer, more: Iterable[str] = (), **others: object) -> Element:
    """What the query inspector and the panel's header show."""
    found: Element = {"executedQueryString": answer.plan.executed, **others}
    if notices := [notice("warning", text) for text in (*answer.notices, *more)]:
        found["notices"] = notices
    return found


def notice(severity: str, text: str) -> Element:
    """A sign in the panel's header."""
    return {"severity": severity, "text": text}


def failed(failure: Failure) -> Element:
    """A target that failed beside others that did not."""
    sentence = f"target {failure.ref_id}: {failure.error.sentence}"
    about: Element = {"notices": [notice("error", sentence)]}
    if failure.executed:
        about["executedQueryString"] = failure.executed
    return {"refId": failure.ref_id, "fields": [], "meta": about}


def empty(answer: Answer, *notices: str) -> Element:
    """A target without data: nothing to draw, but the query can be looked at."""
    return {"refId": answer.plan.ref_id, "fields": [], "meta": meta(answer, notices)}


def unit_of(answer: Answer, curve: Curve) -> str:
    """The Grafana unit id of a curve; empty when nobody said."""
    ask = curve.ask
    return grafana_unit(ask.unit, ask.function, ask.type) if answer.plan.is_catalogue else ask.unit


def names(answer: Answer) -> list[str]:
    """What each curve is called in a legend."""
    curves, template = answer.curves, answer.plan.legend
    if not answer.plan.is_catalogue or template:
        return [series_name(template, curve.templated, _fallback(curve)) for curve in curves]
    if len(answer.plan.asks) == 1:
        return short_names([curve.labels for curve in curves], answer.plan.asks[0].name)
    return [f"{curve.metric}{metric_text(curve.labels)}" for curve in curves]


def _fallback(curve: Curve) -> str:
    return curve.ask.name or curve.ask.promql[:_LONGEST_NAME]
