"""Dashboard variables: `label_values(up, job)`, `label_names()`, `metrics(re)`, `query_result(q)`, `targets`."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gatewayz_metrics.caller_limits import check_length as check_text
from gatewayz_metrics.caller_limits import check_lookback
from gatewayz_metrics.cooperative import yield_periodically
from gatewayz_metrics.errors import InvalidQuery, PromqlOff
from gatewayz_metrics.json_datasource.bounds import count_characters
from gatewayz_metrics.json_datasource.payload import Payload, chosen_matchers, strip_regex_escapes
from gatewayz_metrics.json_datasource.prometheus import Bounds, PrometheusQueries
from gatewayz_metrics.json_datasource.targets import TargetPlanner
from gatewayz_metrics.memory import reserve_memory
from gatewayz_metrics.promql.lexer import Kind
from gatewayz_metrics.promql.macros import MacroContext, expand_macros
from gatewayz_metrics.promql.matchers import format_series, quote
from gatewayz_metrics.promql.parser import QueryText, parse
from gatewayz_metrics.promql.rewrite import check_length, inject_matchers, read_query, refuse_unresolved

_CALL = re.compile(r"\s*([a-z_]+)\s*\((.*)\)\s*", re.DOTALL)
_FORMS = (
    "label_values(label), label_values(selector, label), label_names(), metrics(regex), query_result(query), targets"
)

# Bytes of a series written out, measured: one of four labels.
_RESULT = 200

# What a JSON payload may hold beside labels to narrow by.
_OPTIONS = frozenset(["target", "label", "selector", "match", "metric", "query", "filters"])


@dataclass(frozen=True, slots=True)
class VariableQuery:
    """A variable's query, read from text or from a JSON payload."""

    kind: str
    selector: str = ""
    label: str = ""
    text: str = ""
    # What of it is PromQL that the user wrote, unlike matchers that are put together here.
    promql: str = field(default="", compare=False)


class Variables:
    """The values that variables offer."""

    def __init__(self, targets: TargetPlanner, questions: PrometheusQueries) -> None:
        self._targets = targets
        self._questions = questions

    async def values(self, payload: object, span: MacroContext) -> tuple[str, ...]:
        """The values of a variable. Raises InvalidQuery with the forms there are."""
        longest = self._targets.max_length
        check_text(count_characters(payload), longest, "The variable's query")
        try:
            wish = parse_variable(payload, span, longest)
        except ValueError as exc:
            raise InvalidQuery(f"The variable's query cannot be answered: {exc}") from exc
        return await self._of(wish, span) if wish else ()

    async def _of(self, wish: VariableQuery, span: MacroContext) -> tuple[str, ...]:
        if (wish.promql or wish.kind == "query_result") and not self._targets.allow_promql:
            raise PromqlOff(wish.promql)
        bounds: Bounds = (span.range.start_ms, span.range.end_ms)
        match wish.kind:
            case "targets":
                return tuple(self._targets.catalogue.by_name)
            case "label_values":
                return await self._questions.label_values(wish.label, wish.selector, bounds)
            case "label_names":
                return await self._questions.label_names(wish.selector, bounds)
            case "metrics":
                return await self._questions.label_values("__name__", f"{{__name__=~{quote(wish.text)}}}", bounds)
        return await self._results(wish.text, span)

    async def _results(self, promql: str, span: MacroContext) -> tuple[str, ...]:
        query = QueryText(promql)
        check_lookback(query, self._targets.max_range)
        found = await self._questions.query(query, span.range.end_ms)
        # As Grafana's own: the series, its value and its time, for the variable's regex to pick from.
        reserve_memory(_RESULT * len(found.series))
        pause = yield_periodically()
        values: list[str] = []
        for series in found.series:
            values.append(f"{format_series(series.labels, ',')} {series.values[-1]:.17g} {series.times[-1]}")
            await pause()
        return tuple(values)


def parse_variable(payload: object, span: MacroContext, longest: int | None = None) -> VariableQuery | None:
    """What a variable asks for; None where it asks for nothing.

    Raises ValueError with a sentence, also when the query would have more than `longest` characters.
    """
    wish = _parse(payload, span, longest)
    if wish is not None:
        check_length(len(wish.selector) + len(wish.text) + len(wish.label), longest)
    return wish


def _parse(payload: object, span: MacroContext, longest: int | None) -> VariableQuery | None:
    values: dict[str, Any] = payload if isinstance(payload, dict) else {"target": payload}
    target = values.get("target")
    text = target.strip() if isinstance(target, str) else ""
    if not text:
        return None
    if text in _FROM_JSON and len(values) > 1:
        return _FROM_JSON[text](Payload.of(values), span, longest)
    if text in ("targets", "targets()"):
        return VariableQuery("targets")
    found = _CALL.fullmatch(text)
    if found is None or found[1] not in _FROM_TEXT:
        raise ValueError(f"{text[:100]!r} is none of {_FORMS}.")
    return _narrow(_FROM_TEXT[found[1]](found[2], span), Payload.of(values), longest)


def _narrow(wish: VariableQuery, payload: Payload, longest: int | None) -> VariableQuery:
    """The same, for the labels that the payload gives beside the text. Raises ValueError where none can count."""
    matchers = _matchers(payload, longest)
    if not matchers:
        return wish
    if wish.kind not in ("label_values", "label_names"):
        raise ValueError(f"{wish.kind} takes no labels beside it: {matchers[:100]}.")
    return replace(wish, selector=_put_in(wish.selector, matchers, longest))


def _matchers(payload: Payload, longest: int | None) -> str:
    return chosen_matchers(payload, (name for name in payload.values if name not in _OPTIONS), longest)


def _put_in(selector: str, matchers: str, longest: int | None) -> str:
    if not matchers:
        return selector
    return inject_matchers(selector, matchers, longest) if selector else f"{{{matchers}}}"


def _promql(text: str, span: MacroContext) -> str:
    return read_query(text.strip(), span).text


def _label(text: str) -> str:
    label = strip_regex_escapes(text.strip()).strip("\"'`")
    refuse_unresolved(QueryText(label))
    if not label:
        raise ValueError("it names no label.")
    return label


def _label_values(inside: str, span: MacroContext) -> VariableQuery:
    at = _last_comma(inside)
    selector = _promql(inside[:at], span) if at >= 0 else ""
    return VariableQuery("label_values", selector, _label(inside[at + 1 :]), promql=selector)


def _last_comma(text: str) -> int:
    """Where the last comma stands that is not within braces or strings; -1 when there is none."""
    depth, found = 0, -1
    for token in parse(text).tokens:
        depth += {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}.get(token.text, 0)
        if token.kind is Kind.PUNCTUATION and token.text == "," and depth == 0:
            found = token.start
    return found


def _label_names(inside: str, span: MacroContext) -> VariableQuery:
    selector = _promql(inside, span)
    return VariableQuery("label_names", selector, promql=selector)


def _metrics(inside: str, span: MacroContext) -> VariableQuery:
    pattern = expand_macros(inside.strip(), span)
    refuse_unresolved(QueryText(pattern))
    # Grafana's own is unanchored, too.
    return VariableQuery("metrics", text=f".*(?:{pattern}).*" if pattern else ".+")


def _query_result(inside: str, span: MacroContext) -> VariableQuery:
    query = _promql(inside, span)
    return VariableQuery("query_result", text=query, promql=query)


def _json_label_values(payload: Payload, span: MacroContext, longest: int | None) -> VariableQuery:
    written, selector = _json_selector(payload, span, longest)
    return VariableQuery("label_values", selector, _label(payload.text("label")), promql=written)


def _json_label_names(payload: Payload, span: MacroContext, longest: int | None) -> VariableQuery:
    written, selector = _json_selector(payload, span, longest)
    return VariableQuery("label_names", selector, promql=written)


def _json_selector(payload: Payload, span: MacroContext, longest: int | None) -> tuple[str, str]:
    """The selector as it was written, and with the payload's labels put in."""
    selector = _promql(payload.text("selector") or payload.text("metric"), span)
    return selector, _put_in(selector, _matchers(payload, longest), longest)


_FROM_TEXT: dict[str, Callable[[str, MacroContext], VariableQuery]] = {
    "label_values": _label_values,
    "label_names": _label_names,
    "metrics": _metrics,
    "query_result": _query_result,
}
_FROM_JSON: dict[str, Callable[[Payload, MacroContext, int | None], VariableQuery]] = {
    "label_values": _json_label_values,
    "label_names": _json_label_names,
    "metrics": lambda payload, span, _: _metrics(payload.text("match"), span),
    "query_result": lambda payload, span, _: _query_result(payload.text("query"), span),
}
