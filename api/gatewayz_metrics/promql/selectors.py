"""Every place where a query reads series, and ad-hoc filters put into each of them."""

from gatewayz_metrics.promql.braces import NAME_LABEL, Selector
from gatewayz_metrics.promql.syntax import read


def selectors(promql: str) -> tuple[Selector, ...]:
    """The selectors of a query in order; raises ValueError with a sentence when it cannot be judged."""
    syntax = read(promql)
    if syntax.fault:
        raise ValueError(
            f"The selectors of this query cannot be told: {syntax.fault}. Correct the query, or take the filters off."
        )
    return syntax.selectors


def inject(promql: str, matchers: str) -> str:
    """The query with the matchers in every selector and every other byte as it was.

    Raises ValueError with a sentence for a query whose selectors cannot be told beyond doubt.
    """
    if not matchers.strip():
        return promql
    added = _matchers(matchers)
    places: list[tuple[int, str]] = []
    for selector in selectors(promql):
        _refuse_second_name(selector, added)
        places += _places(selector, matchers.strip())
    return _put(promql, places)


def _matchers(text: str) -> Selector:
    syntax = read(f"{{{text}}}")
    found = syntax.selectors[0] if not syntax.fault and len(syntax.selectors) == 1 else None
    if (
        found is None
        or found.is_named
        or found.braces != (0, len(text) + 2)
        or found.ends != ((len(text.rstrip()) + 1, True),)
    ):
        raise ValueError(f"{text!r} is not a list of label matchers such as 'env=\"production\"'.")
    return found


def _refuse_second_name(selector: Selector, added: Selector) -> None:
    if NAME_LABEL in added.labels and selector.is_named and not selector.is_info:
        raise ValueError(
            f"A filter on {NAME_LABEL} cannot join a selector that names its metric. "
            "Take the filter off, or select the metric by labels alone."
        )


def _places(selector: Selector, matchers: str) -> list[tuple[int, str]]:
    # info() would add the filter's labels, and drop every series whose info metric lacks them.
    if selector.is_info:
        return []
    if selector.braces is None:
        _, end = selector.name or (0, 0)
        return [(end, f"{{{matchers}}}")]
    return [(end, f",{matchers}" if needs_comma else matchers) for end, needs_comma in selector.ends]


def _put(text: str, places: list[tuple[int, str]]) -> str:
    pieces: list[str] = []
    done = 0
    for at, addition in places:
        pieces += (text[done:at], addition)
        done = at
    return "".join([*pieces, text[done:]])
