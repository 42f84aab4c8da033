"""PromQL over a catalogue's families, each expression with its unit and its meaning.

A name that the catalogue does not have, or a function that its type does not allow, raises NotInCatalogue:
a board that asks for it is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

from gatewayz_metrics.catalogue import Catalogue, Family, Slots, Statistic, build_heatmap, build_terms, grafana_unit
from gatewayz_metrics.promql import build
from gatewayz_metrics.telemetry import Telemetry

RATE = "$__rate_interval"
RANGE = "$__range"

# The counter of all requests to the gateway.
TRAFFIC = "fastapi_requests_total"

_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
_NOUNS = ("requests", "answers", "points", "warnings", "fallbacks", "refusals", "results")


class NotInCatalogue(ValueError):
    """A board or an alert asks for what the catalogue does not have."""


@dataclass(frozen=True, slots=True)
class Expression:
    """PromQL, the Grafana unit of its values, and what they mean."""

    promql: str
    unit: str
    help: str

    def meaning(self, text: str) -> "Expression":
        """The same with other words for what it means."""
        return replace(self, help=text)

    def top(self, count: int) -> "Expression":
        """Only the largest series."""
        return replace(self, promql=build.top(count, self.promql))

    def earlier(self, offset: str) -> "Expression":
        """The same some time ago."""
        return replace(self, promql=build.shift(self.promql, offset))

    def over(self, other: "Expression", unit: str) -> "Expression":
        """Per unit of another; nothing where that one did not happen."""
        return replace(self, promql=build.ratio(self.promql, other.promql), unit=unit)

    def scaled(self, formula: str, unit: str) -> "Expression":
        """Put into a formula in place of `{}`."""
        return replace(self, promql=formula.format(self.promql), unit=unit)


@dataclass(frozen=True)
class Metrics:
    """A catalogue together with what the service measures about itself; it notes what a board asked for."""

    catalogue: Catalogue
    asked: set[str] = field(default_factory=set)

    @cached_property
    def families(self) -> dict[str, Family]:
        """The catalogue's families and the service's own, by name."""
        return {family.name: family for family in (*self.catalogue.families, *own_families())}

    def family(self, name: str, *types: str) -> Family:
        """A family of one of these types. Raises NotInCatalogue."""
        found = self.families.get(name)
        if found is None or found.type not in types:
            raise NotInCatalogue(f"The catalogue has no {' or '.join(types)} named {name!r}.")
        return self._noted(found)

    def counter(self, name: str) -> Family:
        """The family with a counter of this name, which may count a histogram. Raises NotInCatalogue."""
        found = self._exporter(name, ("_sum", "_count"))
        if found is None or found.type == "gauge":
            raise NotInCatalogue(f"The catalogue has no counter named {name!r}; only counters grow.")
        return self._noted(found)

    def exporter(self, name: str) -> Family:
        """The family that has series of this name. Raises NotInCatalogue."""
        found = self._exporter(name, _PARTS["histogram"])
        if found is None:
            raise NotInCatalogue(f"The catalogue has no series named {name!r}.")
        return found

    def _exporter(self, name: str, parts: Iterable[str]) -> Family | None:
        found = self.families.get(name)
        if found is not None and found.type not in _PARTS:
            return found
        owners = ((self.families.get(name.removesuffix(part)), part) for part in parts if name.endswith(part))
        return next((owner for owner, part in owners if owner and part in _PARTS.get(owner.type, ())), None)

    def _noted(self, family: Family) -> Family:
        self.asked.add(family.name)
        self.note_sources(family)
        return family

    def note_sources(self, entry: Family | Statistic) -> None:
        """An expression over other families shows those as well: a mean is all that is to be seen of a summary."""
        # A fallback stands in for a family and shows none of its own.
        first = entry.choices[0]
        templates = [first] if isinstance(first, str) else [term.template for term in first]
        read = (self._exporter(series, _PARTS["histogram"]) for series in build.find_metrics(" ".join(templates)))
        self.asked.update(each.name for each in read if each)

    def statistic(self, name: str) -> Statistic:
        """A statistic of the summary. Raises NotInCatalogue."""
        found = self.catalogue.by_name.get(name)
        if not isinstance(found, Statistic):
            raise NotInCatalogue(f"The catalogue has no statistic named {name!r}.")
        self.asked.add(name)
        return found

    def have_label(self, template: str, label: str) -> bool:
        """Whether all series that a template reads have a label, as far as the catalogue's families tell."""
        having = {source for family in self.catalogue.families if label in family.by for source in family.sources}
        return having.issuperset(build.find_metrics(template))

    @cached_property
    def presence(self) -> str:
        """A metric that is there while the system is: its traffic, else its first counter, else what comes first."""
        families = sorted(self.catalogue.families, key=lambda each: (each.name != TRAFFIC, each.type != "counter"))
        sources = (*(each.sources for each in families), *(each.sources for each in self.catalogue.statistics))
        return next((name for names in sources for name in names), "")


@dataclass(frozen=True)
class Selection:
    """The families under the matchers of one dashboard."""

    metrics: Metrics
    matchers: tuple[str, ...] = ()

    def where(self, *matchers: str) -> "Selection":
        """The same with further matchers."""
        return replace(self, matchers=(*self.matchers, *matchers))

    def rate(self, name: str, by: Iterable[str] = (), window: str = RATE) -> Expression:
        """How fast a counter grows per second."""
        return self._growing("rate", name, by, window)

    def increase(self, name: str, by: Iterable[str] = (), window: str = RANGE) -> Expression:
        """How much a counter grew."""
        return self._growing("increase", name, by, window)

    def now(self, name: str) -> Expression:
        """A gauge as the catalogue defines it."""
        return self.as_defined(self.metrics.family(name, "gauge"))

    def number(self, name: str, label: str = "") -> Expression:
        """A statistic, in PromQL; it shows the families that it reads.

        Matchers of a `label` reach its sources with that label alone; the others are left out.
        """
        found = self.metrics.statistic(name)
        self.metrics.note_sources(found)
        choices = [each for each in found.choices if not label or self.metrics.have_label(each, label)]
        if not choices:
            raise NotInCatalogue(f"No source of {name!r} has the label {label!r}.")
        return Expression(self._filled(build.first_of(choices)), grafana_unit(found.unit), found.help)

    def as_defined(self, family: Family) -> Expression:
        """A family's values as they are."""
        template = build_terms(family, "raw", family.by)[0].template
        return self._expression(template, family)

    def total(self, name: str, by: Iterable[str] = (), function: str = "sum") -> Expression:
        """A gauge over all series, or by some labels."""
        family = self.metrics.family(name, "gauge")
        return self._expression(build.aggregate(function, by, build.selector(name)), family)

    def quantile(self, quantile: float, name: str, by: Iterable[str] = (), window: str = RATE) -> Expression:
        """A quantile of a histogram; nothing, rather than NaN, where nothing was observed."""
        family = self.metrics.family(name, "histogram")
        template = build.first_of([build.quantile_of(each, quantile, by, _growth(window)) for each in family.metrics])
        return self._expression(f"{template} >= 0", family, window)

    def mean(self, name: str, by: Sequence[str] = (), window: str = RATE) -> Expression:
        """The mean of a histogram or a summary."""
        family = self.metrics.family(name, "histogram", "summary")
        means = [build.mean_of(each, by, _growth(window)) for each in family.metrics]
        return self._expression(build.first_of(means), family, window)

    def buckets(self, name: str) -> Expression:
        """How much every bucket of a histogram grew, for a heatmap."""
        family = self.metrics.family(name, "histogram")
        return self._expression(build_heatmap(family).template, family)

    def share(self, part: "Selection", name: str, by: Sequence[str] = (), window: str = RATE) -> Expression:
        """The share of a counter's growth that another source sees, 0 to 1; zero where there is none of it."""
        some, whole = (source._growing(_growth(window), name, by, window) for source in (part, self))  # noqa: SLF001  # of the same class
        about = f"Share of these: {whole.help}"
        return Expression(build.share(some.promql, whole.promql), grafana_unit("ratio"), about)

    def part(self, part: "Selection", name: str, by: Sequence[str] = (), window: str = RANGE) -> Expression:
        """How much of a counter's growth another source sees; zero where there is none of it."""
        some, whole = (source.increase(name, by, window) for source in (part, self))
        return replace(some, promql=f"{some.promql} or 0 * {whole.promql}")

    def series(self, name: str) -> str:
        """The bare series of a family, for a variable or a condition: it does not count as shown.

        Raises NotInCatalogue.
        """
        self.metrics.exporter(name)
        return self.foreign(name)

    def foreign(self, name: str) -> str:
        """The bare series of a metric that no catalogue has."""
        return self._filled(build.selector(name))

    def _growing(self, function: str, name: str, by: Iterable[str], window: str) -> Expression:
        family = self.metrics.counter(name)
        unit = grafana_unit(family.unit, function, family.type)
        return Expression(self._filled(build.total_growth(function, name, by), window), unit, family.help)

    def _expression(self, template: str, family: Family, window: str = RATE) -> Expression:
        return Expression(self._filled(template, window), grafana_unit(family.unit), family.help)

    def _filled(self, template: str, window: str = RATE) -> str:
        # The slot also leaves out what this service exported itself: where its pages are scraped, nothing counts twice.
        return Slots(",".join(self.matchers), window).fill(template).strip()


def _growth(window: str) -> str:
    """How growth over a window is written where only proportions count: rates belong to short windows."""
    return "increase" if window == RANGE else "rate"


@cache
def own_families() -> tuple[Family, ...]:
    """What the service measures about itself, from the registry that its /metrics shows."""
    return tuple(
        Family(name=name, type=metric.type, unit=_unit(name), help=metric.documentation, categories=("service",))
        for metric in Telemetry().registry.collect()
        for name in [f"{metric.name}_total" if metric.type == "counter" else metric.name]
    )


def _unit(name: str) -> str:
    for unit in ("seconds", "bytes", *_NOUNS):
        if unit in name.removesuffix("_total").rsplit("_", 1)[-1]:
            return unit
    return ""
