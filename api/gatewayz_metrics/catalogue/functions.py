"""What can be made of a family: its values as they are, how fast they grow, means and quantiles.

Every expression is a template whose selectors all have the slot, so a deployment's matchers and the exclusion
of our own exports stay in it.
"""

from gatewayz_metrics.catalogue.model import Family, Term
from gatewayz_metrics.promql.build import bucket_growth, mean_of, quantile_of, regroup, total_growth

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
        return ("raw", "rate", "increase")
    return ("raw",)


def build_terms(family: Family, function: str, by: Labels) -> tuple[Term, ...]:
    """The expressions that one of the family's functions gives, grouped by some labels.

    Raises ValueError with a sentence when the family has an expression of its own that groups otherwise.
    """
    if function in QUANTILES:
        return (Term(family.name, quantile_of(family.name, QUANTILES[function], by)),)
    if function == "mean":
        return (Term(family.name, mean_of(family.name, by)),)
    if function in ("rate", "increase"):
        counter = family.name if family.type == "counter" else f"{family.name}_count"
        return (Term(family.name, total_growth(function, counter, by)),)
    if family.expr is not None:
        return (Term(family.name, family.expr if by == family.by else regroup(family.expr, family.by, by)),)
    return family.model_copy(update={"by": by}).terms


def build_heatmap(family: Family) -> Term:
    """The growth of every bucket of a histogram, other labels aside."""
    return Term(family.name, bucket_growth("increase", family.name))
