"""What the query editor offers: the catalogue's entries, and for each the builder's choices."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gatewayz_metrics.catalogue import Family, Statistic
from gatewayz_metrics.datasource import functions
from gatewayz_metrics.datasource.labels import OPTIONS, chosen
from gatewayz_metrics.datasource.payload import Payload
from gatewayz_metrics.datasource.questions import Questions
from gatewayz_metrics.datasource.requests import MetricsRequest, OptionsRequest
from gatewayz_metrics.datasource.targets import Form, Targets
from gatewayz_metrics.errors import InvalidQuery
from gatewayz_metrics.promql.repair import repair
from gatewayz_metrics.promql.selectors import inject, selectors

_WINDOWS = ("1m", "5m", "15m", "1h", "6h", "1d", "$__rate_interval", "$__interval", "$__range")
_NO_GROUPING = frozenset(["__name__", "le", "quantile"])


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of a list."""

    value: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Knob:
    """One field of the builder; a list without options is asked for when it is opened."""

    name: str
    label: str
    type: str = "select"
    options: tuple[Choice, ...] = ()
    placeholder: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One metric of the picker."""

    value: str
    label: str
    knobs: tuple[Knob, ...] = field(default=())


class Options:
    """The picker and the builder over one catalogue."""

    def __init__(self, targets: Targets, questions: Questions) -> None:
        self._targets = targets
        self._questions = questions

    def entries(self, request: MetricsRequest) -> tuple[Entry, ...]:
        """Every statistic and family, and the current choice even where it is neither."""
        catalogue = self._targets.catalogue
        known = [
            *(Entry(s.name, f"{s.name} · {s.help}", self._knobs(s)) for s in catalogue.statistics),
            *(Entry(f.name, f"{f.name} · {f.help}", self._knobs(f)) for f in catalogue.families),
        ]
        if request.metric and request.metric not in catalogue.by_name:
            # An editor that does not find its metric in the list shows an empty box.
            known.append(Entry(request.metric, request.metric, self._of_text()))
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
            return (Choice(functions.TOTAL, "(total)"), *(Choice(n, n) for n in names if n not in _NO_GROUPING))
        if request.name in ("legend", "window", "step", "unit"):
            return ()
        values = await self._questions.label_values(request.name, selector, None)
        return tuple(Choice(value, value) for value in values if value)

    def _selector(self, request: OptionsRequest, entry: Family | None, payload: Payload) -> str:
        """The series that a choice is about, within the other choices."""
        if entry is not None:
            others = [label for label in entry.by if label != request.name]
            return inject(self._targets.slots.fill(_source(entry)), chosen(payload, others))
        text = repair(request.metric)
        found = selectors(text) if text.strip() else ()
        spans = [span for span in (found[0].name, found[0].braces) if span] if found else []
        return text[spans[0][0] : spans[-1][1]] if spans else ""

    def _knobs(self, entry: Family | Statistic) -> tuple[Knob, ...]:
        window = _select("window", "Window", _WINDOWS, self._targets.slots.window)
        if isinstance(entry, Statistic):
            return (window, *_shown(heatmap=False))
        known = functions.functions_of(entry)
        function = (_select("function", "Function", known, known[0]),) if len(known) > 1 else ()
        by = (Knob("by", "By", "multi-select", placeholder=", ".join(entry.by) or "(total)"),) if _groups(entry) else ()
        filters = (Knob(label, label, "multi-select") for label in entry.by if label not in OPTIONS)
        return (*function, *by, *filters, window, *_shown(heatmap=entry.type == "histogram"))

    def _of_text(self) -> tuple[Knob, ...]:
        return (*_shown(heatmap=True), Knob("step", "Step", "input", placeholder="30s"))


def _select(name: str, label: str, values: Iterable[str], placeholder: str) -> Knob:
    return Knob(name, label, "select", tuple(Choice(value, value) for value in values), placeholder)


def _shown(*, heatmap: bool) -> tuple[Knob, ...]:
    titles = {Form.SERIES: "Time series", Form.TABLE: "Table", Form.HEATMAP: "Heatmap", Form.FRAME: "Data frame"}
    forms = tuple(Choice(form.value, title) for form, title in titles.items() if heatmap or form is not Form.HEATMAP)
    flags = (Choice("true", "true"), Choice("false", "false"))
    return (
        Knob("format", "Format", "select", forms, titles[Form.SERIES]),
        Knob("legend", "Legend", "input", placeholder="{{label}}"),
        Knob("instant", "Instant", "select", flags, "false"),
        Knob("join", "Join tables", "select", flags, "false"),
    )


def _groups(family: Family) -> bool:
    """Whether its grouping can be chosen: a family with an expression of its own has to group at all."""
    return family.expr is None or bool(family.by)


def _source(family: Family) -> str:
    """A selector of one metric that the family reads, still with its slot."""
    template = family.terms[0].template
    at = template.index("{$selector")
    start = at
    while start and (template[start - 1].isalnum() or template[start - 1] in "_:"):
        start -= 1
    return template[start : template.index("}", at) + 1]
