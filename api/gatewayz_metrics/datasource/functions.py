"""What can be made of a family: its values as they are, how fast they grow, means and quantiles.

Everything starts from the catalogue's own terms, so the deployment's selector and the
exclusion of our own exports stay in every expression.
"""

from gatewayz_metrics.catalogue import Family, Term
from gatewayz_metrics.promql.lexer import Kind, Token, lex

QUANTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99"}

# Grouping by nothing; no label can be called so.
TOTAL = "()"

Labels = tuple[str, ...]


def functions_of(family: Family) -> Labels:
    """The functions that the family's type allows; the first is what it shows unasked."""
    if family.type == "histogram":
        return ("mean", *QUANTILES, "rate", "increase", "raw")
    if family.type == "summary":
        return ("mean", "rate", "increase", "raw")
    if family.type == "counter" and family.expr is None:
        return ("raw", "rate", "increase")
    return ("raw",)


def terms(family: Family, function: str, by: Labels) -> tuple[Term, ...]:
    """The expressions that the function gives, grouped by some labels."""
    family = family.model_copy(update={"by": by})
    if function in QUANTILES:
        buckets = over_window("rate", family.terms[0])
        return (Term(family.name, f"histogram_quantile({QUANTILES[function]}, {buckets})"),)
    if function == "mean":
        total, count = (over_window("rate", term) for term in family.terms[-2:])
        return (Term(family.name, f"{total} / ({count} > 0)"),)
    if function in ("rate", "increase"):
        return (Term(family.name, over_window(function, family.terms[-1])),)
    return family.terms


def heat(family: Family) -> Term:
    """The growth of every bucket, the others labels aside."""
    buckets = family.model_copy(update={"by": ()}).terms[0]
    return Term(family.name, over_window("increase", buckets))


def over_window(function: str, term: Term) -> str:
    """A term that sums a metric, as the sum of its growth."""
    selector = f"{term.sample}{{$selector}}"
    return term.template.replace(selector, f"{function}({selector}[$window])")


def regroup(promql: str, labels: Labels, by: Labels) -> str:
    """An expression with every `by` that lists exactly these labels grouping by others instead.

    Raises ValueError with a sentence when there is no such `by`.
    """
    tokens = lex(promql)
    pieces: list[str] = []
    at = 0
    for start, end in _groupings(tokens, set(labels)):
        pieces += (promql[at:start], f"({', '.join(by)})")
        at = end
    if not pieces:
        raise ValueError("The grouping of this family is fixed by its expression; leave `by` out.")
    return "".join([*pieces, promql[at:]])


def _groupings(tokens: list[Token], labels: set[str]) -> list[tuple[int, int]]:
    """Where the lists after `by` stand that name these labels, parentheses included."""
    solid = [token for token in tokens if not token.is_blank]
    found: list[tuple[int, int]] = []
    for number, token in enumerate(solid[:-1]):
        if token.kind is Kind.WORD and token.text.lower() == "by" and solid[number + 1].text == "(":
            closing = next(t for t in solid[number + 1 :] if t.text == ")")
            named = {t.text for t in solid if solid[number + 1].start < t.start < closing.start and t.text != ","}
            if named == labels:
                found.append((solid[number + 1].start, closing.end))
    return found
