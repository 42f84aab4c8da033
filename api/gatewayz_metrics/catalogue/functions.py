"""What can be made of a family: its values as they are, how fast they grow, means and quantiles.

Every expression is a template whose selectors all have the slot, so a deployment's matchers and the exclusion
of our own exports stay in it.
"""

from collections.abc import Callable

from gatewayz_metrics.catalogue.model import Family, Term
from gatewayz_metrics.promql.build import bucket_growth, first_of, mean_of, quantile_of, regroup, total_growth

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

Labels = tuple[str, ...]


def functions_of(family: Family) -> Labels:
    """The functions that the family's type allows; the first is what it shows unasked."""
    if family.type == "histogram":
        return ("mean", *QUANTILES, "rate", "increase", "raw")
    if family.type == "summary":
        return ("mean", "rate", "increase", "raw")
    # The growth of an expression of several series would be wrong at every restart.
    if family.type == "counter" and family.expr is None:
        return ("rate", "increase", "raw")
    return ("raw",)


def build_terms(family: Family, function: str, by: Labels) -> tuple[Term, ...]:
    """The expressions that one of the family's functions gives, grouped by some labels.

    Raises ValueError with a sentence when the family has an expression of its own that groups otherwise.
    """
    if function in QUANTILES:
        return _first(family, lambda metric: quantile_of(metric, QUANTILES[function], by))
    if function == "mean":
        return _first(family, lambda metric: mean_of(metric, by))
    if function in ("rate", "increase"):
        part = "" if family.type == "counter" else "_count"
        return _first(family, lambda metric: total_growth(function, f"{metric}{part}", by))
    if family.expr is None or by == family.by:
        return family.model_copy(update={"by": by}).terms
    return tuple(Term(term.sample, regroup(term.template, family.by, by)) for term in family.terms)


def build_heatmap(family: Family) -> Term:
    """The growth of every bucket of a histogram, other labels aside."""
    return _first(family, lambda metric: bucket_growth("increase", metric))[0]


def _first(family: Family, build: Callable[[str], str]) -> tuple[Term, ...]:
    """What is made of the first metric of the family that has series."""
    return (Term(family.name, first_of([build(metric) for metric in family.metrics])),)
