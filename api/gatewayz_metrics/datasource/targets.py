"""What a target means: a statistic, a family with the builder's choices, or PromQL text."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gatewayz_metrics.catalogue import Catalogue, Family, Statistic
from gatewayz_metrics.datasource import functions, labels
from gatewayz_metrics.datasource.payload import Payload, plain
from gatewayz_metrics.datasource.requests import Target
from gatewayz_metrics.datasource.timing import Clock, Grid
from gatewayz_metrics.errors import InvalidQuery, PromqlOff
from gatewayz_metrics.promql.filters import Filter, label_name, matchers_of
from gatewayz_metrics.promql.macros import expand, refuse_unresolved
from gatewayz_metrics.promql.repair import repair
from gatewayz_metrics.promql.selectors import inject
from gatewayz_metrics.promql.template import Slots
from gatewayz_metrics.promql.values import duration, milliseconds


class Form(StrEnum):
    """How an answer is written."""

    SERIES = "time_series"
    TABLE = "table"
    HEATMAP = "heatmap"
    FRAME = "frame"


@dataclass(frozen=True, slots=True)
class Ask:
    """One expression, the metric that its result stands for, and how that came about."""

    name: str
    promql: str
    unit: str = ""
    function: str = "raw"
    type: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A target made out: what is asked, when, and how it is shown."""

    ref_id: str
    asks: tuple[Ask, ...]
    grid: Grid
    at_ms: int
    form: Form = Form.SERIES
    is_instant: bool = False
    is_joined: bool = False
    is_catalogue: bool = False
    legend: str = ""
    payload: Payload = field(default_factory=Payload)

    @property
    def executed(self) -> str:
        """What the query inspector shows."""
        when = "Instant" if self.is_instant else f"Step: {duration(self.grid.step)}"
        return "\n".join([*(f"Expr: {ask.promql}" for ask in self.asks), when])


@dataclass(frozen=True, slots=True)
class Targets:
    """The meaning of targets in one deployment."""

    catalogue: Catalogue
    slots: Slots
    allow_promql: bool = True
    max_length: int = 16384

    def plan(self, target: Target, clock: Clock, filters: Sequence[Filter] = ()) -> Plan:
        """What a target asks. Raises InvalidQuery or PromqlOff with a sentence."""
        try:
            return self._plan(target, clock, filters)
        except ValueError as exc:
            raise InvalidQuery(str(exc)) from exc

    def entries(self, text: str) -> tuple[Family | Statistic, ...]:
        """The catalogue's entries that a text names, several of a multi-value variable; else nothing."""
        names = Payload({"names": text}).several("names")
        known = self.catalogue.by_name
        return tuple(known[name] for name in names) if names and all(name in known for name in names) else ()

    def _plan(self, target: Target, clock: Clock, filters: Sequence[Filter]) -> Plan:
        payload = Payload.of(target.payload or target.data)
        form = _form(target, payload)
        flag = payload.flag("instant")
        is_instant = form is Form.TABLE if flag is None else flag
        grid = clock.grid(payload.duration_ms("step") or payload.duration_ms("interval"))
        entries = self.entries(target.target.strip())
        step_ms = max(clock.scrape_ms, round(clock.interval_ms or 0)) if is_instant else grid.step
        one = _Asking(self, payload, form, clock, step_ms, matchers_of(filters))
        asks = [ask for entry in entries for ask in one.of(entry)] if entries else [one.of_text(target.target)]
        return Plan(
            ref_id=target.ref_id,
            asks=tuple(asks),
            grid=grid,
            at_ms=clock.to_ms,
            form=form,
            is_instant=is_instant and form is not Form.HEATMAP,
            is_joined=bool(payload.flag("join")),
            is_catalogue=bool(entries),
            legend=payload.text("legend"),
            payload=payload,
        )


@dataclass(frozen=True, slots=True)
class _Asking:
    """One target on its way to expressions."""

    targets: Targets
    payload: Payload
    form: Form
    clock: Clock
    step_ms: int
    matchers: str

    def of(self, entry: Family | Statistic) -> list[Ask]:
        if isinstance(entry, Statistic):
            promql = self._slots().fill(entry.expr)
            return [Ask(entry.name, self._filtered(promql, labels.chosen(self.payload, ())), entry.unit)]
        if self.form is Form.HEATMAP:
            return [self._heat(entry)]
        return self._family(entry)

    def of_text(self, text: str) -> Ask:
        if not self.targets.allow_promql:
            raise PromqlOff(text)
        if len(text) > self.targets.max_length:
            raise ValueError(
                f"The query has {len(text):,} characters; MAX_QUERY_LENGTH allows {self.targets.max_length:,}."
            )
        promql = expand(repair(text), self.clock.span(self.step_ms))
        refuse_unresolved(promql)
        return Ask("", inject(promql, self.matchers), self.payload.text("unit"))

    def _family(self, family: Family) -> list[Ask]:
        known = functions.functions_of(family)
        function = self.payload.choice("function", known, known[0])
        by = self._by(family)
        chosen = labels.chosen(self.payload, dict.fromkeys((*family.by, *by)))
        asks = []
        for term in functions.terms(family, function, by):
            promql = self._slots().fill(term.template)
            if family.expr is not None and by != family.by:
                promql = functions.regroup(promql, family.by, by)
            asks.append(Ask(term.sample, self._filtered(promql, chosen), family.unit, function, family.type))
        return asks

    def _heat(self, family: Family) -> Ask:
        if family.type != "histogram":
            raise ValueError(f"{family.name} is a {family.type}; a heatmap needs a histogram.")
        window = duration(self.clock.span(self.step_ms).rate_interval_ms)
        promql = self._slots(window).fill(functions.heat(family).template)
        return Ask(family.name, self._filtered(promql, labels.chosen(self.payload, family.by)), "short", "increase")

    def _by(self, family: Family) -> tuple[str, ...]:
        asked = self.payload.several("by")
        if not asked:
            return family.by
        return () if asked == (functions.TOTAL,) else tuple(label_name(label) for label in asked)

    def _slots(self, default: str = "") -> Slots:
        text = plain(self.payload.text("window", default or self.targets.slots.window))
        window = expand(text, self.clock.span(self.step_ms))
        refuse_unresolved(window)
        # Written anew from its milliseconds: nothing of the user's text gets into the brackets.
        ms = Payload({"window": window}).duration_ms("window") or milliseconds(self.targets.slots.window)
        return replace(self.targets.slots, window=duration(ms))

    def _filtered(self, promql: str, chosen: str) -> str:
        return inject(promql, ",".join(part for part in (chosen, self.matchers) if part))


def _form(target: Target, payload: Payload) -> Form:
    default = Form.TABLE if target.type == "table" else Form.SERIES
    known = tuple(form.value for form in Form)
    return Form(payload.choice("format", known, default))
