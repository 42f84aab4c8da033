"""PromQL over the catalogue's families, each expression with its unit and its meaning.

A name that the catalogue does not have, or a function that its type does not allow, ends the generation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from gatewayz_metrics.catalogue import Catalogue, Family, Slots, grafana_unit, load
from gatewayz_metrics.telemetry import Telemetry

RATE = "$__rate_interval"
RANGE = "$__range"

_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
_NOUNS = ("requests", "answers", "points", "warnings", "fallbacks", "refusals", "results")


@dataclass(frozen=True, slots=True)
class Expression:
    """PromQL, the Grafana unit of its values, and what they mean."""

    promql: str
    unit: str
    help: str

    def top(self, count: int) -> "Expression":
        """Only the largest series."""
        return replace(self, promql=f"topk({count}, {self.promql})")

    def earlier(self, offset: str) -> "Expression":
        """The same some time ago."""
        end = "]" if "]" in self.promql else "}"
        return replace(self, promql=self.promql.replace(end, f"{end} offset {offset}"))

    def over(self, other: "Expression", unit: str) -> "Expression":
        """Per unit of another; nothing where that one did not happen."""
        return Expression(f"{self.promql} / ({other.promql} > 0)", unit, self.help)

    def scaled(self, template: str, unit: str) -> "Expression":
        """Put into a formula in place of `{}`."""
        return replace(self, promql=template.replace("{}", self.promql), unit=unit)


@cache
def families() -> dict[str, Family]:
    """The gateway's families and the service's own, by name."""
    return {family.name: family for family in (*catalogue().families, *_own_families())}


@cache
def catalogue() -> Catalogue:
    """The built-in catalogue: a deployment with its own generates its own dashboards."""
    return load()


@dataclass(frozen=True)
class Source:
    """The families under the matchers of one dashboard."""

    matchers: tuple[str, ...] = ()

    def where(self, *matchers: str) -> "Source":
        """The same with further matchers."""
        return Source((*self.matchers, *matchers))

    def rate(self, name: str, by: Iterable[str] = (), window: str = RATE) -> Expression:
        """How fast a counter grows per second."""
        return self._growing("rate", name, by, window)

    def increase(self, name: str, by: Iterable[str] = (), window: str = RANGE) -> Expression:
        """How much a counter grew."""
        return self._growing("increase", name, by, window)

    def now(self, name: str) -> Expression:
        """A gauge as the catalogue defines it."""
        family = _found(name, "gauge")
        template = family.terms[0].template
        return Expression(self._filled(template), grafana_unit(family.unit), family.help)

    def total(self, name: str, by: Iterable[str] = (), function: str = "sum") -> Expression:
        """A gauge over all series, or by some labels."""
        family = _found(name, "gauge")
        return Expression(f"{_over(function, by)}({self._selector(name)})", grafana_unit(family.unit), family.help)

    def quantile(self, quantile: float, name: str, by: Iterable[str] = (), window: str = RATE) -> Expression:
        """A quantile of a histogram; nothing, rather than NaN, where nothing was observed."""
        family = _found(name, "histogram")
        buckets = f"{_over('sum', (*by, 'le'))}({_growth(window)}({self._selector(f'{name}_bucket')}[{window}]))"
        promql = f"histogram_quantile({quantile:g}, {buckets}) >= 0"
        return Expression(promql, grafana_unit(family.unit), family.help)

    def mean(self, name: str, by: Iterable[str] = (), window: str = RATE) -> Expression:
        """The mean of a histogram or a summary."""
        family = _found(name, "histogram", "summary")
        total, count = (
            f"{_over('sum', by)}({_growth(window)}({self._selector(name + part)}[{window}]))"
            for part in ("_sum", "_count")
        )
        return Expression(f"{total} / ({count} > 0)", grafana_unit(family.unit), family.help)

    def buckets(self, name: str) -> Expression:
        """How much every bucket of a histogram grew, for a heatmap."""
        family = _found(name, "histogram")
        promql = f"sum by (le) (increase({self._selector(f'{name}_bucket')}[{RATE}]))"
        return Expression(promql, grafana_unit(family.unit), family.help)

    def share(self, part: "Source", name: str, by: Iterable[str] = (), window: str = RATE) -> Expression:
        """The share of a counter's growth that another source sees, 0 to 1; zero where there is none of it."""
        whole = self._growing(_growth(window), name, by, window)
        some = part._growing(_growth(window), name, by, window)  # noqa: SLF001  # another of the same class
        promql = f"({some.promql} or 0 * {whole.promql}) / ({whole.promql} > 0)"
        return Expression(promql, grafana_unit("ratio"), whole.help)

    def raw(self, name: str) -> str:
        """A bare selector of one metric."""
        return self._selector(name)

    def _growing(self, function: str, name: str, by: Iterable[str], window: str) -> Expression:
        family = _family_of_counter(name)
        promql = f"{_over('sum', by)}({function}({self._selector(name)}[{window}]))"
        return Expression(promql, grafana_unit(family.unit, function, family.type), family.help)

    def _selector(self, name: str) -> str:
        return self._filled(f"{name}{{$selector}}")

    def _filled(self, template: str) -> str:
        # The slot also leaves out what this service exported itself: where its pages are scraped, nothing counts twice.
        return Slots(",".join(self.matchers), RATE).fill(template).strip()


def _growth(window: str) -> str:
    """How growth over a window is written where only proportions count: rates belong to short windows."""
    return "increase" if window == RANGE else "rate"


def _over(function: str, by: Iterable[str]) -> str:
    labels = ", ".join(by)
    return f"{function} by ({labels}) " if labels else function


def _found(name: str, *types: str) -> Family:
    family = families().get(name)
    if family is None or family.type not in types:
        raise ValueError(f"The catalogue has no {' or '.join(types)} named {name!r}.")
    return family


def _family_of_counter(name: str) -> Family:
    family = families().get(name)
    if family is not None and family.type == "counter":
        return family
    for suffix in ("_sum", "_count"):
        owner = families().get(name.removesuffix(suffix))
        if owner is not None and suffix in _PARTS.get(owner.type, ()):
            return owner
    raise ValueError(f"The catalogue has no counter named {name!r}; only counters grow.")


def _own_families() -> Iterable[Family]:
    """What the service measures about itself, from the registry that its /metrics shows."""
    for metric in Telemetry().registry.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        yield Family.model_validate(
            {
                "name": name,
                "type": metric.type,
                "unit": _unit(name),
                "help": metric.documentation,
                "categories": ("service",),
            }
        )


def _unit(name: str) -> str:
    for unit in ("seconds", "bytes", *_NOUNS):
        if unit in name.removesuffix("_total").rsplit("_", 1)[-1]:
            return unit
    return ""
