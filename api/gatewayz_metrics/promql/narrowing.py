"""A matcher put into every selector of a query, so that it reads nothing else. In doubt the query is refused.

Ad-hoc filters (`rewrite.py`) are a convenience and go where a query can be understood. This is a boundary: a text in
which one engine may see a selector that another does not, or a function that reads series by itself, has no answer.
"""

from gatewayz_metrics.promql.cacheability import FUNCTIONS
from gatewayz_metrics.promql.clauses import Feature, Selector
from gatewayz_metrics.promql.parser import ParsedQuery

# What stands at a place of the text: start, end, new text.
Change = tuple[int, int, str]

# The times of a query as functions, and what Thanos' engine adds: none reads series of its own.
_KNOWN = FUNCTIONS | {"start", "end", "range", "xrate", "xincrease", "xdelta"}
_UNCLEAR = {
    Feature.METRICSQL: "it holds MetricsQL, which is read in more than one way",
    Feature.MACRO: "it holds a macro that has no value",
}


def narrow_query(query: ParsedQuery, matcher: str) -> list[Change]:
    """What puts a matcher into every selector of a query.

    The matcher comes first: `absent()` makes a label of an `=` matcher that is the first for its label, so what
    the caller wrote keeps its meaning there. Raises ValueError with a sentence unless every place where the query
    reads series is known.
    """
    if doubt := _find_doubt(query):
        raise ValueError(
            f"A tenant's query is answered only when it is known beyond doubt which series it reads: {doubt}."
        )
    return [_change(selector, matcher) for selector in query.selectors]


def narrow_selector(query: ParsedQuery, matcher: str) -> list[Change]:
    """The same for the text of a `match[]`, which is one selector and nothing else."""
    changes = narrow_query(query, matcher)
    solid = [token for token in query.tokens if not token.is_blank]
    if len(changes) != 1 or (solid[0].start, solid[-1].end) != _span(query.selectors[0]):
        raise ValueError('A match[] is one selector, such as up{job="api"}, and nothing else; correct it.')
    return changes


def _find_doubt(query: ParsedQuery) -> str:
    """Why it is not certain what a query reads, and what to do about it; empty when it is."""
    if query.fault:
        return f"{query.fault}; correct the query"
    if not _is_unicode(query.text):
        return "it holds bytes that are no UTF-8; write it in UTF-8"
    for feature, doubt in _UNCLEAR.items():
        if feature in query.features:
            return f"{doubt}; write it in PromQL"
    if "info" in query.calls:
        # It looks for target_info in every series that there is, whoever's they are.
        return "info() reads target_info by itself; write * on (job, instance) group_left (version) target_info instead"
    if unknown := sorted(query.calls - _KNOWN):
        return f"{unknown[0][:40]}() is no function that is known here; use another"
    return ""


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _change(selector: Selector, matcher: str) -> Change:
    if selector.braces is None:
        _, end = selector.name or (0, 0)
        return end, end, f"{{{matcher}}}"
    inside = selector.braces[0] + 1
    is_empty = selector.ends[0] == (inside, False)
    return inside, inside, matcher if is_empty else f"{matcher},"


def _span(selector: Selector) -> tuple[int, int]:
    first, last = selector.name or selector.braces or (0, 0)
    return first, (selector.braces or (first, last))[1]
