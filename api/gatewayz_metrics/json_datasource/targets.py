"""What a target means: a statistic, a family with the builder's choices, or PromQL text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gatewayz_metrics.caller_limits import check_lookback
from gatewayz_metrics.catalogue import (
    Catalogue,
    Family,
    Statistic,
    build_heatmap,
    build_terms,
    explain_absence,
    explain_unknown,
    find_entry,
    functions_of,
    is_misspelt,
)
from gatewayz_metrics.errors import InvalidQuery, PromqlOff
from gatewayz_metrics.json_datasource.bounds import QueryBudget
from gatewayz_metrics.json_datasource.gaps import GapQuestion, find_gap_question
from gatewayz_metrics.json_datasource.payload import Payload, chosen_matchers, strip_regex_escapes
from gatewayz_metrics.json_datasource.requests import Target
from gatewayz_metrics.json_datasource.texts import check_texts, split_tags
from gatewayz_metrics.json_datasource.timing import PanelTiming
from gatewayz_metrics.promql.build import Slots
from gatewayz_metrics.promql.macros import expand_macros
from gatewayz_metrics.promql.matchers import Filter, format_filters, format_label_name
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.rewrite import add_matchers, check_length, read_query, refuse_unresolved
from gatewayz_metrics.promql.times import TimeRange, format_duration, parse_literal_ms

# Grouping by nothing, as the builder says it; no label can be called so.
TOTAL = "()"


class OutputFormat(StrEnum):
    """How an answer is written."""

    SERIES = "time_series"
    TABLE = "table"
    HEATMAP = "heatmap"
    FRAME = "frame"


@dataclass(frozen=True, slots=True)
class TargetQuery:
    """One expression, the metric that its result stands for, and how that came about."""

    name: str
    query: QueryText
    unit: str = ""
    function: str = "raw"
    type: str = ""
    # What it asks for, where that stands in the catalogue, and the window in which that looks for events.
    entry: Family | Statistic | None = None
    window: str = ""
    # What tells which of its points can be trusted.
    gaps: GapQuestion | None = None

    @property
    def promql(self) -> str:
        """The text of the expression."""
        return self.query.text


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """A target made out: what is asked, when, and how it is shown."""

    ref_id: str
    asks: tuple[TargetQuery, ...]
    grid: TimeRange
    at_ms: int
    form: OutputFormat = OutputFormat.SERIES
    is_instant: bool = False
    is_joined: bool = False
    is_catalogue: bool = False
    legend: str = ""
    payload: Payload = field(default_factory=Payload)
    # What was asked, as the caller wrote it.
    target: str = ""

    @property
    def text_length(self) -> int:
        """Characters of the user's that stand at every series."""
        return len(self.ref_id) + len(self.legend) + len(self.payload.text("unit"))

    @property
    def executed(self) -> str:
        """What the query inspector shows."""
        when = "Instant" if self.is_instant else f"Step: {format_duration(self.grid.step_ms)}"
        return "\n".join([*(f"Expr: {ask.promql}" for ask in self.asks), when])


@dataclass(frozen=True, slots=True)
class TargetPlanner:
    """The meaning of targets in one deployment."""

    catalogue: Catalogue
    slots: Slots
    allow_promql: bool = True
    max_length: int = 16384
    # Seconds that a query may read back; 0 sets no limit.
    max_range: float = 0.0

    def plan(
        self, target: Target, clock: PanelTiming, filters: Sequence[Filter] = (), budget: QueryBudget | None = None
    ) -> TargetPlan:
        """What a target asks. Raises InvalidQuery or PromqlOff with a sentence, LimitExceeded past the budget."""
        try:
            return self._plan(target, clock, filters, budget or QueryBudget(self.max_length))
        except ValueError as exc:
            raise InvalidQuery(str(exc)) from exc

    def entries(self, text: str) -> tuple[Family | Statistic, ...]:
        """The catalogue's entries that a text names, several of a multi-value variable; else nothing."""
        found = [find_entry(self.catalogue, name) for name in _names_in(text)]
        entries = tuple(entry for entry in found if entry is not None)
        return entries if len(entries) == len(found) else ()

    def _plan(self, target: Target, clock: PanelTiming, filters: Sequence[Filter], budget: QueryBudget) -> TargetPlan:
        payload = Payload.of(target.payload or target.data)
        form = _form(target, payload)
        flag = payload.flag("instant")
        is_instant = form is OutputFormat.TABLE if flag is None else flag
        grid = clock.grid(payload.duration_ms("step") or payload.duration_ms("interval"))
        entries = self.entries(target.target.strip())
        if not entries:
            self._refuse_misspelt(target.target.strip())
        step_ms = max(clock.scrape_ms, round(clock.interval_ms or 0)) if is_instant else grid.step_ms
        one = _TargetBuilder(self, payload, form, clock, step_ms, format_filters(filters, self.max_length), budget)
        asks = [ask for entry in entries for ask in one.of(entry)] if entries else [one.of_text(target.target)]
        check_texts(**{name: payload.text(name) for name in ("legend", "unit", "title", "text")})
        split_tags(payload.values.get("tags"))
        return TargetPlan(
            ref_id=target.ref_id,
            asks=tuple(asks),
            grid=grid,
            at_ms=clock.to_ms,
            form=form,
            is_instant=is_instant and form is not OutputFormat.HEATMAP,
            is_joined=bool(payload.flag("join")),
            is_catalogue=bool(entries),
            legend=payload.text("legend"),
            payload=payload,
            target=target.target,
        )

    def _refuse_misspelt(self, text: str) -> None:
        """Raise ValueError for a name that was meant for the catalogue: an engine would say that it cannot parse it."""
        for name in _names_in(text):
            if is_misspelt(self.catalogue, name):
                raise ValueError(explain_unknown(self.catalogue, name))


@dataclass(frozen=True, slots=True)
class _TargetBuilder:
    """One target on its way to expressions."""

    targets: TargetPlanner
    payload: Payload
    form: OutputFormat
    clock: PanelTiming
    step_ms: int
    matchers: str
    budget: QueryBudget

    def of(self, entry: Family | Statistic) -> list[TargetQuery]:
        if isinstance(entry, Statistic):
            slots = self._slots()
            query = self._filtered(slots.fill(entry.template), self._chosen(()))
            gaps = self._gaps(entry.template, slots)
            return [TargetQuery(entry.name, query, entry.unit, entry=entry, window=slots.window, gaps=gaps)]
        if self.form is OutputFormat.HEATMAP:
            return [self._heat(entry)]
        return self._family(entry)

    def of_text(self, text: str) -> TargetQuery:
        if not self.targets.allow_promql:
            raise PromqlOff(text)
        if len(text) > self.targets.max_length:
            raise ValueError(
                f"The query has {len(text):,} characters; MAX_QUERY_LENGTH allows {self.targets.max_length:,}."
            )
        query = read_query(text, self.clock.span(self.step_ms))
        check_lookback(query, self.targets.max_range)
        return TargetQuery("", self._add(query, self.matchers), self.payload.text("unit"))

    def _family(self, family: Family) -> list[TargetQuery]:
        known = functions_of(family)
        function = self.payload.choice("function", known, known[0])
        by = self._by(family)
        chosen = self._chosen(dict.fromkeys((*family.by, *by)))
        slots = self._slots()
        asks = []
        for term in build_terms(family, function, by):
            query = self._filtered(slots.fill(term.template), chosen)
            gaps = self._gaps(term.template, slots)
            asks.append(TargetQuery(term.sample, query, family.unit, function, family.type, family, slots.window, gaps))
        return asks

    def _gaps(self, template: str, slots: Slots) -> GapQuestion | None:
        return find_gap_question(template, slots, self.clock.scrape_ms / 1000)

    def _heat(self, family: Family) -> TargetQuery:
        if family.type != "histogram":
            raise ValueError(f"{family.name} is a {family.type}; a heatmap needs a histogram.")
        window = format_duration(self.clock.span(self.step_ms).rate_interval_ms)
        slots = self._slots(window)
        promql = slots.fill(build_heatmap(family).template)
        query = self._filtered(promql, self._chosen(family.by))
        return TargetQuery(family.name, query, "short", "increase", entry=family, window=slots.window)

    def _by(self, family: Family) -> tuple[str, ...]:
        asked = self.payload.several("by")
        if not asked:
            return family.by
        # The list stands in every term of the family, often twice.
        check_length(sum(map(len, asked)), self.budget.longest)
        return () if asked == (TOTAL,) else tuple(format_label_name(label) for label in asked)

    def _slots(self, default: str = "") -> Slots:
        text = strip_regex_escapes(self.payload.text("window", default or self.targets.slots.window))
        window = expand_macros(text, self.clock.span(self.step_ms))
        refuse_unresolved(QueryText(window))
        # Written anew from its milliseconds: nothing of the user's text gets into the brackets.
        ms = Payload({"window": window}).duration_ms("window") or parse_literal_ms(self.targets.slots.window)
        return replace(self.targets.slots, window=format_duration(ms))

    def _chosen(self, labels: Iterable[str]) -> str:
        return chosen_matchers(self.payload, labels, self.budget.longest)

    def _filtered(self, promql: str, chosen: str) -> QueryText:
        return self._add(QueryText(promql), ",".join(part for part in (chosen, self.matchers) if part))

    def _add(self, query: QueryText, matchers: str) -> QueryText:
        filtered = add_matchers(query, matchers, self.budget.longest)
        self.budget.spend(len(filtered.text))
        return filtered


def _names_in(text: str) -> tuple[str, ...]:
    return Payload({"names": text}).several("names")


def _form(target: Target, payload: Payload) -> OutputFormat:
    default = OutputFormat.TABLE if target.type == "table" else OutputFormat.SERIES
    known = tuple(form.value for form in OutputFormat)
    return OutputFormat(payload.choice("format", known, default))


# Why a panel stays empty.


def explain_absences(found: Iterable[tuple[TargetQuery, bool]]) -> list[str]:
    """A sentence for each entry of the catalogue of which no query has any series; each query with whether it has."""
    present: set[str] = set()
    silent: dict[str, str] = {}
    for ask, has_series in found:
        if ask.entry is not None and has_series:
            present.add(ask.entry.name)
        elif ask.entry is not None:
            silent[ask.entry.name] = explain_absence(ask.entry, ask.window)
    return [f"{name}: {reason}" for name, reason in silent.items() if name not in present]


def explain_short_windows(asks: Iterable[TargetQuery], scrape_ms: int) -> list[str]:
    """A sentence for each window that is shorter than the time between two scrapes: nothing is found in it.

    Grafana replaces `$__interval` before it asks, so `rate(x[$__interval])` arrives as `rate(x[5s])`.
    """
    windows = dict.fromkeys(
        text for ask in asks for text in ask.query.parsed.windows if parse_literal_ms(text) < 2 * scrape_ms
    )
    return [
        f"[{text}] is too short for scrapes every {format_duration(scrape_ms)}, so nothing is found in it; "
        "write [$__rate_interval], or set the panel's Min interval."
        for text in windows
    ]
