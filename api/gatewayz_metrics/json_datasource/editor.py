"""What Grafana's editors offer: the metric picker, the query builder's fields, and ad-hoc filters.

The bodies follow the JSON datasource plugins: https://github.com/simpod/GrafanaJsonDatasource.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatewayz_metrics.caller_limits import check_length
from gatewayz_metrics.catalogue import Family, Statistic, find_entry, functions_of
from gatewayz_metrics.errors import InvalidQuery
from gatewayz_metrics.json_datasource.payload import OPTIONS, Payload, chosen_matchers
from gatewayz_metrics.json_datasource.prometheus import Bounds, PrometheusQueries
from gatewayz_metrics.json_datasource.query import QueryRunner
from gatewayz_metrics.json_datasource.requests import MetricsRequest, OptionsRequest, TagRequest
from gatewayz_metrics.json_datasource.targets import TOTAL, OutputFormat, TargetPlanner
from gatewayz_metrics.promql.build import find_selector
from gatewayz_metrics.promql.matchers import Filter, format_filters
from gatewayz_metrics.promql.rewrite import find_selectors, inject_matchers, repair_escapes

Row = dict[str, Any]

_WINDOWS = ("1m", "5m", "15m", "1h", "6h", "1d", "$__rate_interval", "$__interval", "$__range")
# Labels that are not offered for grouping: the name is fixed by the metric, the others belong to its type.
_NO_GROUPING = frozenset(["__name__", "le", "quantile"])
# The name is not offered as an ad-hoc filter: it has its own field.
_HIDDEN_TAGS = frozenset(["__name__"])
# Keys or values in one list of an ad-hoc filter; a browser gets slow with more.
_MOST_TAGS = 1000
# The operators that PromQL has, and Grafana's "one of" in two forms.
_OPERATORS = frozenset(["=", "!=", "=~", "!~", "=|", "!=|"])


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a list."""

    value: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class BuilderField:
    """One field of the builder; the plugin requests the options of a list that comes without."""

    name: str
    label: str
    type: str = "select"
    options: tuple[Choice, ...] = ()
    placeholder: str = ""


@dataclass(frozen=True, slots=True)
class PickerEntry:
    """One metric of the picker and the builder's fields for it."""

    value: str
    label: str
    fields: tuple[BuilderField, ...] = field(default=())


class QueryEditor:
    """The metric picker and the query builder for one catalogue."""

    def __init__(self, targets: TargetPlanner, prometheus: PrometheusQueries) -> None:
        self._targets = targets
        self._prometheus = prometheus

    def entries(self, request: MetricsRequest) -> tuple[PickerEntry, ...]:
        """Every statistic and family, and the current metric if it is neither."""
        catalogue = self._targets.catalogue
        known = [
            *(PickerEntry(s.name, f"{s.name} · {s.help}", self._fields(s)) for s in catalogue.statistics),
            *(PickerEntry(f.name, f"{f.name} · {f.help}", self._fields(f)) for f in catalogue.families),
        ]
        if request.metric and request.metric not in catalogue.by_name:
            # An editor that does not find its metric in the list shows an empty box.
            alias = find_entry(catalogue, request.metric)
            fields = self._fields(alias) if alias else self._promql_fields()
            known.append(PickerEntry(request.metric, request.metric, fields))
        return tuple(known)

    def names(self, typed: str) -> tuple[str, ...]:
        """The names that contain the typed text, in any case."""
        return tuple(name for name in self._targets.catalogue.by_name if typed.lower() in name.lower())

    async def choices(self, request: OptionsRequest) -> tuple[Choice, ...]:
        """The options of one field of the builder for a metric. Raises InvalidQuery."""
        found = self._targets.entries(request.metric)
        entry = found[0] if found else None
        fields = self._fields(entry) if entry else self._promql_fields()
        static = next((each.options for each in fields if each.name == request.name), ())
        if static or not request.name or isinstance(entry, Statistic):
            return static
        if entry is None and not self._targets.allow_promql:
            return ()
        try:
            return await self._query_choices(request, entry)
        except ValueError as exc:
            raise InvalidQuery(str(exc)) from exc

    async def _query_choices(self, request: OptionsRequest, entry: Family | None) -> tuple[Choice, ...]:
        payload = Payload.of(request.payload)
        selector = self._selector(request, entry, payload)
        if request.name == "by":
            names = await self._prometheus.label_names(selector, None)
            return (Choice(TOTAL, "(total)"), *(Choice(n, n) for n in names if n not in _NO_GROUPING))
        # Fields of free text, not labels.
        if request.name in ("legend", "window", "step", "unit"):
            return ()
        values = await self._prometheus.label_values(request.name, selector, None)
        return tuple(Choice(value, value) for value in values if value)

    def _selector(self, request: OptionsRequest, entry: Family | None, payload: Payload) -> str:
        """A selector of the series that a list is about, narrowed by the builder's other fields."""
        if entry is not None:
            others = [label for label in entry.by if label != request.name]
            source = find_selector(entry.terms[0].template)
            longest = self._targets.max_length
            chosen = chosen_matchers(payload, others, longest)
            return inject_matchers(self._targets.slots.fill(source), chosen, longest)
        check_length(len(request.metric), self._targets.max_length)
        text = repair_escapes(request.metric)
        found = find_selectors(text) if text.strip() else ()
        spans = [span for span in (found[0].name, found[0].braces) if span] if found else []
        return text[spans[0][0] : spans[-1][1]] if spans else ""

    def _fields(self, entry: Family | Statistic) -> tuple[BuilderField, ...]:
        window = _select("window", "Window", _WINDOWS, self._targets.slots.window)
        if isinstance(entry, Statistic):
            return (window, *_display_fields(heatmap=False))
        functions = functions_of(entry)
        function = (_select("function", "Function", functions, functions[0]),) if len(functions) > 1 else ()
        by = (
            (BuilderField("by", "By", "multi-select", placeholder=", ".join(entry.by) or "(total)"),)
            if _can_group(entry)
            else ()
        )
        filters = (BuilderField(label, label, "multi-select") for label in entry.by if label not in OPTIONS)
        return (*function, *by, *filters, window, *_display_fields(heatmap=entry.type == "histogram"))

    def _promql_fields(self) -> tuple[BuilderField, ...]:
        return (*_display_fields(heatmap=True), BuilderField("step", "Step", "input", placeholder="30s"))


def _select(name: str, label: str, values: Iterable[str], placeholder: str) -> BuilderField:
    return BuilderField(name, label, "select", tuple(Choice(value, value) for value in values), placeholder)


def _display_fields(*, heatmap: bool) -> tuple[BuilderField, ...]:
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


def _can_group(family: Family) -> bool:
    """Whether its grouping can be changed: an expression of the catalogue's own may not group at all."""
    return family.expr is None or bool(family.by)


class AdHocTags:
    """Keys and values for ad-hoc filters, narrowed by the filters that are set already."""

    def __init__(self, runner: QueryRunner, prometheus: PrometheusQueries) -> None:
        self._runner = runner
        self._prometheus = prometheus

    async def keys(self, request: TagRequest) -> tuple[str, ...]:
        """The label names of all series within the other filters and the range."""
        names = await self._prometheus.label_names(self._selector(request.filters), self._bounds(request))
        return tuple(name for name in names if name not in _HIDDEN_TAGS)[:_MOST_TAGS]

    async def values(self, request: TagRequest) -> tuple[str, ...]:
        """The values of one label within the other filters and the range."""
        if not request.key:
            return ()
        others = [one for one in request.filters if one.key != request.key]
        selector = self._selector(others)
        return (await self._prometheus.label_values(request.key, selector, self._bounds(request)))[:_MOST_TAGS]

    def _selector(self, filters: Sequence[Filter]) -> str:
        return _selector(filters, self._runner.targets.max_length)

    def _bounds(self, request: TagRequest) -> Bounds:
        asked = request.time_range
        return None if asked.from_ is None or asked.to is None else self._runner.bounds(asked)


def _selector(filters: Sequence[Filter], longest: int) -> str:
    """The complete filters as a selector.

    A filter whose operator PromQL lacks (`<`) is left out, as a picker cannot show an error.
    """
    usable = [one for one in filters if one.is_complete and one.operator in _OPERATORS]
    try:
        matchers = format_filters(usable, longest)
    except ValueError as exc:
        raise InvalidQuery(str(exc)) from exc
    if not matchers:
        return ""
    # An engine refuses a selector whose every matcher also matches an empty value.
    needs_name = not any(one.operator in ("=", "=|") for one in usable)
    return f'{{__name__!="",{matchers}}}' if needs_name else f"{{{matchers}}}"


# Bodies.


def render_picker(entries: Iterable[PickerEntry]) -> list[Row]:
    """The answer to `/metrics`: the picker's entries with the builder's fields."""
    return [
        {"value": entry.value, "label": entry.label, "payloads": [_render_field(each) for each in entry.fields]}
        for entry in entries
    ]


def render_choices(choices: Iterable[Choice]) -> Iterator[Row]:
    """The answer to `/metric-payload-options`: the options of one field."""
    return ({"label": choice.label or choice.value, "value": choice.value} for choice in choices)


def render_variable(values: Iterable[str]) -> Iterator[Row]:
    """The answer to `/variable`; a row needs both names, or the plugin ignores both."""
    return ({"__text": value, "__value": value} for value in values)


def render_pairs(values: Iterable[str]) -> Iterator[Row]:
    """The answer to SimpleJson's `/search`, without empty values, which that plugin garbles."""
    return ({"text": value, "value": value} for value in values if value)


def render_tags(values: Iterable[str]) -> Iterator[Row]:
    """The answer to `/tag-keys` or `/tag-values`."""
    return ({"text": value, "value": value} for value in values)


def _render_field(builder_field: BuilderField) -> Row:
    row: Row = {"name": builder_field.name, "label": builder_field.label, "type": builder_field.type}
    if builder_field.options:
        row["options"] = list(render_choices(builder_field.options))
    if builder_field.placeholder:
        row["placeholder"] = builder_field.placeholder
    return row
