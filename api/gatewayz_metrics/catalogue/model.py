"""The typed catalogue: what is measured, how it is called, in which unit, by which expression.

A catalogue that contradicts itself is refused with a sentence. Whether its PromQL is
valid only an engine can tell; the tests ask one.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gatewayz_metrics.promql.build import (
    EXPORT_LABEL,
    PART_LABEL,
    Slots,
    count_selectors,
    find_metrics,
    first_of,
    quantile_of,
    total,
    with_label,
)
from gatewayz_metrics.promql.lexer import LABEL_NAME, METRIC_NAME
from gatewayz_metrics.promql.rewrite import find_selectors

RESERVED_PAGES = frozenset({"summary", "series", "all", "docs"})
_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
RESERVED_LABELS = frozenset({"le", "quantile", PART_LABEL, EXPORT_LABEL})

FamilyType = Literal["counter", "gauge", "histogram", "summary"]
NumberFormat = Literal["exact", "rounded", "money"]


def _label(name: str) -> str:
    if not LABEL_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a label name.")
    if name in RESERVED_LABELS:
        raise ValueError(f"the label {name!r} is set by the service itself; leave it out of `by`.")
    return name


def _expression(template: str) -> str:
    if not count_selectors(template) or _has_open_selector(Slots().fill(template)):
        raise ValueError(
            f"the expression {template.strip()!r} lacks a $selector; put one into the braces of every selector, "
            "or other deployments' series (and our own exports) get into the number."
        )
    return template


def _has_open_selector(promql: str) -> bool:
    """Whether some selector sees everything; text that cannot be judged is left to the engine."""
    try:
        return any(EXPORT_LABEL not in selector.labels for selector in find_selectors(promql))
    except ValueError:
        return False


LabelName = Annotated[str, AfterValidator(_label)]
Expression = Annotated[str, AfterValidator(_expression)]


class CatalogueEntry(BaseModel):
    """What families and statistics have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    unit: str
    help: str = Field(min_length=1)


class Term(NamedTuple):
    """One expression of a family and the name that its samples get."""

    sample: str
    template: str


class Family(CatalogueEntry):
    """A metric family of the text routes."""

    type: FamilyType
    categories: tuple[str, ...] = Field(min_length=1)
    by: tuple[LabelName, ...] = ()
    expr: Expression | None = None
    # Asked in this order where what comes before has no series: expressions for a family that has one, else the
    # names of metrics with the same meaning, type and unit.
    fallbacks: tuple[str, ...] = ()
    quantile_of: str | None = None
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()

    @model_validator(mode="after")
    def _has_one_shape(self) -> Self:
        if not METRIC_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a metric name.")
        if self.quantile_of is not None:
            self._check_quantile_family()
        elif self.quantiles:
            raise ValueError("has quantiles but no quantile_of, the histogram they come from.")
        elif self.expr is not None and self.type in ("histogram", "summary"):
            raise ValueError(f"is a {self.type}, which consists of several series; it cannot have one expr.")
        if self.type == "counter" and not self.name.endswith("_total"):
            raise ValueError("is a counter, so its name must end in _total.")
        self._check_fallbacks()
        return self

    def _check_fallbacks(self) -> None:
        for fallback in self.fallbacks:
            if self.expr is not None:
                _expression(fallback)
            elif not METRIC_NAME.fullmatch(fallback):
                raise ValueError(f"has no expr, so its fallbacks must be metric names; {fallback!r} is none.")

    def _check_quantile_family(self) -> None:
        if self.expr is not None or self.type != "gauge" or not self.quantiles:
            raise ValueError("has quantile_of: it must be a gauge with quantiles and without expr.")
        if self.name != f"{self.quantile_of}_quantile":
            raise ValueError(f"holds quantiles of {self.quantile_of}, so it must be named {self.quantile_of}_quantile.")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics to read, the first that exists: none for a family with an expression of its own."""
        return () if self.expr is not None else (self.quantile_of or self.name, *self.fallbacks)

    @property
    def choices(self) -> tuple[tuple[Term, ...], ...]:
        """The expressions that together give the family's samples, for each source in turn."""
        if self.expr is not None:
            return tuple((Term(self.name, template),) for template in (self.expr, *self.fallbacks))
        return tuple(tuple(self._terms(metric)) for metric in self.metrics)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The same as one expression per sample name, which takes the first source that has series."""
        return tuple(
            Term(same[0].sample, first_of([term.template for term in same])) for same in zip(*self.choices, strict=True)
        )

    def _terms(self, metric: str) -> Iterator[Term]:
        if self.quantile_of is not None:
            for quantile in self.quantiles:
                template = quantile_of(metric, quantile, self.by)
                yield Term(self.name, with_label(template, "quantile", f"{quantile:g}"))
            return
        for part in _PARTS.get(self.type, ("",)):
            labels = (*self.by, "le") if part == "_bucket" else self.by
            yield Term(f"{self.name}{part}", total(f"{metric}{part}", labels))

    @property
    def sources(self) -> tuple[str, ...]:
        """The metrics that its expressions read."""
        return find_metrics(" ".join(term.template for terms in self.choices for term in terms))

    @property
    def weight(self) -> int:
        """What it costs to ask, roughly in series per label combination."""
        return sum(10 if "_bucket{" in term.template else 1 for terms in self.choices for term in terms)


class Statistic(CatalogueEntry):
    """One number of the summary; `name` is `section.key`."""

    format: NumberFormat = "rounded"
    expr: Expression
    # Asked in this order where what comes before has no series.
    fallbacks: tuple[Expression, ...] = ()

    @property
    def section(self) -> str:
        """The part of the summary it stands in."""
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        """Its key within the section."""
        return self.name.partition(".")[2]

    @property
    def choices(self) -> tuple[str, ...]:
        """Its expressions, each of another source."""
        return (self.expr, *self.fallbacks)

    @property
    def template(self) -> str:
        """One expression that takes the first source which has a value."""
        return first_of(self.choices)

    @property
    def sources(self) -> tuple[str, ...]:
        """The metrics that its expressions read."""
        return find_metrics(" ".join(self.choices))

    @property
    def weight(self) -> int:
        """What it costs to ask: how many selectors the engine has to read."""
        return sum(map(count_selectors, self.choices))


class Catalogue(BaseModel):
    """Every family and statistic of a deployment, in the order in which people read them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    window: str = Field("5m", pattern=r"^([0-9]+(ms|[smhdwy]))+$")
    # The label that tells deployments apart; dashboards choose one by it, alerts name it.
    deployment_label: LabelName | None = None
    categories: dict[str, str]
    sections: dict[str, str]
    families: tuple[Family, ...]
    statistics: tuple[Statistic, ...]
    # Other names that clients still use: an alias is answered with its statistic, a replaced name with a sentence that
    # says what to use.
    aliases: dict[str, str] = {}
    replacements: dict[str, str] = {}

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for problem in (
            *self._unusable_pages(),
            *self._unknown_categories(),
            *self._broken_quantiles(),
            *self._clashes(),
            *self._wrong_names(),
        ):
            raise ValueError(problem)
        return self

    def _unusable_pages(self) -> Iterator[str]:
        for category in self.categories:
            if category in RESERVED_PAGES or not LABEL_NAME.fullmatch(category):
                yield f"the category {category!r} cannot be a route of its own; choose another name."

    def _unknown_categories(self) -> Iterator[str]:
        for family in self.families:
            for category in family.categories:
                if category not in self.categories:
                    known = ", ".join(self.categories)
                    yield f"the family {family.name} is in the unknown category {category!r}; there are {known}."
        for statistic in self.statistics:
            if statistic.section not in self.sections:
                known = ", ".join(self.sections)
                yield f"the statistic {statistic.name} is in an unknown section; there are {known}."

    def _broken_quantiles(self) -> Iterator[str]:
        types = {family.name: family.type for family in self.families}
        for family in self.families:
            if family.quantile_of is not None and types.get(family.quantile_of) != "histogram":
                yield (
                    f"the family {family.name} takes quantiles of {family.quantile_of}, "
                    "which is no histogram of this catalogue; without buckets there are no quantiles."
                )

    def _clashes(self) -> Iterator[str]:
        owners: dict[str, str] = {}
        for family in self.families:
            for name in {family.name, *(term.sample for term in family.terms)}:
                if owners.setdefault(name, family.name) != family.name:
                    yield (
                        f"the sample {name} would belong to {owners[name]} and to {family.name}: one name, two shapes."
                    )

    def _wrong_names(self) -> Iterator[str]:
        statistics = {statistic.name for statistic in self.statistics}
        for alias, name in self.aliases.items():
            if name not in statistics:
                yield f"the alias {alias!r} stands for {name!r}, which is no statistic of this catalogue."
        for replaced, name in self.replacements.items():
            if name not in self.by_name:
                yield f"{replaced!r} is replaced by {name!r}, which is no statistic and no family of this catalogue."
        for name in self.by_name.keys() & (self.aliases.keys() | self.replacements.keys()):
            yield f"{name!r} is both an entry and another name for one; remove it from the aliases and replacements."
        for name in self.aliases.keys() & self.replacements.keys():
            yield f"{name!r} is both an alias and a replaced name; remove one of them."

    def in_category(self, category: str | None) -> tuple[Family, ...]:
        """The families of one category, or all of them, each once."""
        return tuple(f for f in self.families if category is None or category in f.categories)

    def in_sections(self, sections: frozenset[str]) -> tuple[Statistic, ...]:
        """The statistics of some sections; of all when none is named."""
        return tuple(s for s in self.statistics if not sections or s.section in sections)

    @cached_property
    def by_name(self) -> dict[str, Family | Statistic]:
        """Every family and statistic under its name."""
        return {f.name: f for f in self.families} | {s.name: s for s in self.statistics}
