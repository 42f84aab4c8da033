"""What the query editor offers: the catalogue's entries, and for each the builder's choices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatewayz_metrics.catalogue import Family, Statistic, functions_of
from gatewayz_metrics.errors import InvalidQuery
from gatewayz_metrics.json_datasource.payload import OPTIONS, Payload, chosen_matchers
from gatewayz_metrics.json_datasource.prometheus import Bounds, PrometheusQueries
from gatewayz_metrics.json_datasource.query import QueryRunner
from gatewayz_metrics.json_datasource.requests import MetricsRequest, OptionsRequest, TagRequest
from gatewayz_metrics.json_datasource.targets import TOTAL, OutputFormat, TargetPlanner
from gatewayz_metrics.promql.build import find_selector
from gatewayz_metrics.promql.matchers import Filter, format_filters
from gatewayz_metrics.promql.rewrite import find_selectors, inject_matchers, repair_escapes

_WINDOWS = ("1m", "5m", "15m", "1h", "6h", "1d", "$__rate_interval", "$__interval", "$__range")
_NO_GROUPING = frozenset(["__name__", "le", "quantile"])


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of a list."""

    value: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class BuilderField:
    """One field of the builder; a list without options is asked for when it is opened."""

    name: str
    label: str
    type: str = "select"
    options: tuple[Choice, ...] = ()
    placeholder: str = ""


@dataclass(frozen=True, slots=True)
class PickerEntry:
    """One metric of the picker."""

    value: str
    label: str
    knobs: tuple[BuilderField, ...] = field(default=())


class QueryEditor:
    """The picker and the builder over one catalogue."""

    def __init__(self, targets: TargetPlanner, questions: PrometheusQueries) -> None:
        self._targets = targets
        self._questions = questions

    def entries(self, request: MetricsRequest) -> tuple[PickerEntry, ...]:
        """Every statistic and family, and the current choice even where it is neither."""
        catalogue = self._targets.catalogue
        known = [
            *(PickerEntry(s.name, f"{s.name} · {s.help}", self._knobs(s)) for s in catalogue.statistics),
            *(PickerEntry(f.name, f"{f.name} · {f.help}", self._knobs(f)) for f in catalogue.families),
        ]
        if request.metric and request.metric not in catalogue.by_name:
            # An editor that does not find its metric in the list shows an empty box.
            known.append(PickerEntry(request.metric, request.metric, self._of_text()))
        return tuple(known)

    def names(self, typed: str) -> tuple[str, ...]:
        """The names that contain what was typed."""
        return tuple(name for name in self._targets.catalogue.by_name if typed.lower() in name.lower())

    async def choices(self, request: OptionsRequest) -> tuple[Choice, ...]:
        """What one list of the builder offers for a metric."""
        found = self._targets.entries(request.metric)
        entry = found[0] if found else None
        knobs = self._knobs(entry) if entry else self._of_text()
        static = next((knob.options for knob in knobs if knob.name == request.name), ())
        if static or not request.name or isinstance(entry, Statistic):
            return static
        if entry is None and not self._targets.allow_promql:
            return ()
        try:
            return await self._live(request, entry)
        except ValueError as exc:
            raise InvalidQuery(str(exc)) from exc

    async def _live(self, request: OptionsRequest, entry: Family | None) -> tuple[Choice, ...]:
        payload = Payload.of(request.payload)
        selector = self._selector(request, entry, payload)
        if request.name == "by":
            names = await self._questions.label_names(selector, None)
            return (Choice(TOTAL, "(total)"), *(Choice(n, n) for n in names if n not in _NO_GROUPING))
        if request.name in ("legend", "window", "step", "unit"):
            return ()
        values = await self._questions.label_values(request.name, selector, None)
        return tuple(Choice(value, value) for value in values if value)

    def _selector(self, request: OptionsRequest, entry: Family | None, payload: Payload) -> str:
        """The series that a choice is about, within the other choices."""
        if entry is not None:
            others = [label for label in entry.by if label != request.name]
            source = find_selector(entry.terms[0].template)
            return inject_matchers(self._targets.slots.fill(source), chosen_matchers(payload, others))
        text = repair_escapes(request.metric)
        found = find_selectors(text) if text.strip() else ()
        spans = [span for span in (found[0].name, found[0].braces) if span] if found else []
        return text[spans[0][0] : spans[-1][1]] if spans else ""

    def _knobs(self, entry: Family | Statistic) -> tuple[BuilderField, ...]:
        window = _select("window", "Window", _WINDOWS, self._targets.slots.window)
        if isinstance(entry, Statistic):
            return (window, *_shown(heatmap=False))
        known = functions_of(entry)
        function = (_select("function", "Function", known, known[0]),) if len(known) > 1 else ()
        by = (
            (BuilderField("by", "By", "multi-select", placeholder=", ".join(entry.by) or "(total)"),)
            if _groups(entry)
            else ()
        )
        filters = (BuilderField(label, label, "multi-select") for label in entry.by if label not in OPTIONS)
        return (*function, *by, *filters, window, *_shown(heatmap=entry.type == "histogram"))

    def _of_text(self) -> tuple[BuilderField, ...]:
        return (*_shown(heatmap=True), BuilderField("step", "Step", "input", placeholder="30s"))


def _select(name: str, label: str, values: Iterable[str], placeholder: str) -> BuilderField:
    return BuilderField(name, label, "select", tuple(Choice(value, value) for value in values), placeholder)


def _shown(*, heatmap: bool) -> tuple[BuilderField, ...]:
    titles = {
        OutputFormat.SERIES: "Time series",
        OutputFormat.TABLE: "Table",
        OutputFormat.HEATMAP: "Heatmap",
        OutputFormat.FRAME: "Data frame",
    }
    forms = tuple(
        Choice(form.value, title) for form, title in titles.items() if heatmap or form is not OutputFormat.HEATMAP
    )
    flags = (Choice("true", "true"), Choice("false", "false"))
    return (
        BuilderField("format", "Format", "select", forms, titles[OutputFormat.SERIES]),
        BuilderField("legend", "Legend", "input", placeholder="{{label}}"),
        BuilderField("instant", "Instant", "select", flags, "false"),
        BuilderField("join", "Join tables", "select", flags, "false"),
    )


def _groups(family: Family) -> bool:
    """Whether its grouping can be chosen: a family with an expression of its own has to group at all."""
    return family.expr is None or bool(family.by)


# DOC Keys and values for ad-hoc filters, each narrowed by the filters chosen already.


# What nobody filters by: the name has its own place, the marker is on our own exports only.
_HIDDEN = frozenset(["__name__"])
_MOST = 1000


class AdHocTags:
    """What the ad-hoc filter's pickers offer."""

    def __init__(self, panels: QueryRunner, questions: PrometheusQueries) -> None:
        self._panels = panels
        self._questions = questions

    async def keys(self, request: TagRequest) -> tuple[str, ...]:
        """The labels that series within the other filters and the range have."""
        names = await self._questions.label_names(_selector(request.filters), self._bounds(request))
        return tuple(name for name in names if name not in _HIDDEN)[:_MOST]

    async def values(self, request: TagRequest) -> tuple[str, ...]:
        """The values of one label within the other filters and the range."""
        if not request.key:
            return ()
        others = [one for one in request.filters if one.key != request.key]
        return (await self._questions.label_values(request.key, _selector(others), self._bounds(request)))[:_MOST]

    def _bounds(self, request: TagRequest) -> Bounds:
        asked = request.time_range
        return None if asked.from_ is None or asked.to is None else self._panels.bounds(asked)


def _selector(filters: Sequence[Filter]) -> str:
    """Complete filters as a selector; one that PromQL lacks (`<`) narrows nothing, as a picker has no errors."""
    usable = [one for one in filters if one.is_complete and one.operator in _OPERATORS]
    try:
        matchers = format_filters(usable)
    except ValueError as exc:
        raise InvalidQuery(str(exc)) from exc
    if not matchers:
        return ""
    # An engine refuses a selector that the empty label would match, too.
    needs_name = not any(one.operator in ("=", "=|") for one in usable)
    return f'{{__name__!="",{matchers}}}' if needs_name else f"{{{matchers}}}"


_OPERATORS = frozenset(["=", "!=", "=~", "!~", "=|", "!=|"])


# DOC Lists for pickers: each in the words of the plugin that reads it.


Row = dict[str, Any]


def render_picker(entries: Iterable[PickerEntry]) -> list[Row]:
    """The metric picker with the builder's fields."""
    return [
        {"value": entry.value, "label": entry.label, "payloads": [_render_field(knob) for knob in entry.knobs]}
        for entry in entries
    ]


def render_choices(found: Iterable[Choice]) -> list[Row]:
    """The options of one field."""
    return [{"label": choice.label or choice.value, "value": choice.value} for choice in found]


def render_variable(values: Iterable[str]) -> list[Row]:
    """A variable's values: every row has both names, or the plugin takes neither."""
    return [{"__text": value, "__value": value} for value in values]


def render_pairs(values: Iterable[str]) -> list[Row]:
    """Names and values for the first plugin, which mangles empty ones."""
    return [{"text": value, "value": value} for value in values if value]


def render_tags(values: Iterable[str]) -> list[Row]:
    """Keys or values of ad-hoc filters."""
    return [{"text": value, "value": value} for value in values]


def _render_field(knob: BuilderField) -> Row:
    row: Row = {"name": knob.name, "label": knob.label, "type": knob.type}
    if knob.options:
        row["options"] = render_choices(knob.options)
    if knob.placeholder:
        row["placeholder"] = knob.placeholder
    return row
