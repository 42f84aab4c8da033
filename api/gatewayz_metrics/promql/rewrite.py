"""Changes to the text of a query: escapes repaired, macros expanded, ad-hoc filters put into every selector."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gatewayz_metrics.promql.build import splice
from gatewayz_metrics.promql.clauses import NAME_LABEL, Selector
from gatewayz_metrics.promql.lexer import Kind, Token, TokenPlace, locate_tokens
from gatewayz_metrics.promql.macros import MacroContext, expand_macros
from gatewayz_metrics.promql.matchers import Matcher, format_matchers, parse_matchers
from gatewayz_metrics.promql.parser import ParsedQuery, QueryText, parse


def read_query(text: str, span: MacroContext) -> QueryText:
    """The query that a panel or a variable means by its text.

    Raises ValueError with a sentence when a macro or variable in it has no value.
    """
    written = QueryText(text)
    promql = expand_macros(_repair(written), span)
    query = written if promql == text else QueryText(promql)
    refuse_unresolved(query)
    return query


def refuse_unresolved(query: QueryText) -> None:
    """Raises ValueError with a sentence when a macro or variable has no value."""
    if names := query.unresolved:
        raise ValueError(
            f"Nothing gave {', '.join(names)} a value. "
            "Grafana replaces the variables of a dashboard only on that dashboard: write the value itself here."
        )


# Ad-hoc filters, put into every place where a query reads series.


def find_selectors(promql: str) -> tuple[Selector, ...]:
    """The selectors of a query in order; raises ValueError with a sentence when it cannot be judged."""
    return _selectors_of(parse(promql))


def inject_matchers(promql: str, matchers: str, longest: int | None = None) -> str:
    """The query with the matchers in every selector and every other byte as it was.

    Raises ValueError with a sentence for a query whose selectors cannot be told beyond doubt, and for one that
    would have more than `longest` characters.
    """
    return add_matchers(QueryText(promql), matchers, longest).text


def add_matchers(query: QueryText, matchers: str, longest: int | None = None) -> QueryText:
    """The same for a query that may have been read already; what is known of it goes on to the result."""
    check_length(max(len(query.text), len(matchers)), longest)
    added = parse_matchers(matchers) if matchers.strip() else ()
    if not added:
        return query
    addition = format_matchers(added)
    selectors = _selectors_of(query.parsed)
    # Every selector has them in the end, so the length is told before any text is put together.
    check_length(len(query.text) + sum(map(_count_places, selectors)) * len(addition), longest)
    places: list[tuple[int, str]] = []
    for selector in selectors:
        _refuse_second_name(selector, added)
        places += _places(selector, addition)
    filtered = splice(query.text, [(at, at, inserted) for at, inserted in places])
    return QueryText(filtered, lambda text: _derive(text, query.parsed, places, addition))


def check_length(length: int, longest: int | None) -> None:
    """Raises ValueError with a sentence when a query, its filters included, is longer than is allowed."""
    if longest is not None and length > longest:
        raise ValueError(
            f"The query has {length:,} characters, its filters in every selector included; "
            f"MAX_QUERY_LENGTH allows {longest:,}."
        )


def _selectors_of(query: ParsedQuery) -> tuple[Selector, ...]:
    if query.fault:
        raise ValueError(
            f"The selectors of this query cannot be told: {query.fault}. Correct the query, or take the filters off."
        )
    return query.selectors


def _refuse_second_name(selector: Selector, added: Iterable[Matcher]) -> None:
    if any(matcher.label == NAME_LABEL for matcher in added) and selector.is_named and not selector.is_info:
        raise ValueError(
            f"A filter on {NAME_LABEL} cannot join a selector that names its metric. "
            "Take the filter off, or select the metric by labels alone."
        )


def _count_places(selector: Selector) -> int:
    """In how many places of a selector matchers are put; each alternative of MetricsQL has its own."""
    return 0 if selector.is_info else max(1, len(selector.ends))


def _places(selector: Selector, matchers: str) -> list[tuple[int, str]]:
    # info() would add the filter's labels, and drop every series whose info metric lacks them.
    if selector.is_info:
        return []
    if selector.braces is None:
        _, end = selector.name or (0, 0)
        return [(end, f"{{{matchers}}}")]
    return [(end, f",{matchers}" if needs_comma else matchers) for end, needs_comma in selector.ends]


# What the parser would find in the changed text, told from what it found in the original. Matchers read no
# other series, call nothing and know no time: tokens move, and selectors have more labels. A test compares
# it with what the parser finds.


def _derive(text: str, query: ParsedQuery, places: list[tuple[int, str]], matchers: str) -> ParsedQuery:
    braces = parse(f"{{{matchers}}}")
    return replace(
        query,
        text=text,
        tokens=tuple(_with_additions(query.tokens, places, braces.tokens)),
        selectors=tuple(_with_labels(query.selectors, matchers, braces.selectors[0].labels)),
    )


def _with_additions(
    tokens: Iterable[Token], places: Iterable[tuple[int, str]], braces: tuple[Token, ...]
) -> Iterator[Token]:
    left = iter([*places, (-1, "")])
    at, addition = next(left)
    moved = 0
    for token in tokens:
        yield _move(token, moved) if moved else token
        if token.end == at:
            yield from _tokens_of(addition, at + moved, braces)
            moved += len(addition)
            at, addition = next(left)


def _tokens_of(addition: str, at: int, braces: tuple[Token, ...]) -> Iterator[Token]:
    """The tokens of `{matchers}`, `,matchers` or `matchers` at a place, told from those of `{matchers}`."""
    found = braces if addition.startswith("{") else braces[1:-1]
    if addition.startswith(","):
        yield Token(Kind.PUNCTUATION, ",", at)
        at += 1
    first = found[0].start
    for token in found:
        yield _move(token, at - first)


def _move(token: Token, by: int) -> Token:
    return Token(token.kind, token.text, token.start + by)


def _with_labels(selectors: Iterable[Selector], matchers: str, labels: frozenset[str]) -> Iterator[Selector]:
    moved = 0
    for selector in selectors:
        before, places = moved, _places(selector, matchers)
        ends = [] if places else [(end + before, needs_comma) for end, needs_comma in selector.ends]
        for at, addition in places:
            moved += len(addition)
            # A closing brace of the addition's own stands behind the end.
            ends.append((at + moved - addition.startswith("{"), True))
        _, end_of_name = selector.name or (0, 0)
        first, last = selector.braces or (end_of_name, end_of_name)
        yield replace(
            selector,
            name=selector.name and (selector.name[0] + before, end_of_name + before),
            braces=(first + before, last + moved),
            ends=tuple(ends),
            labels=selector.labels | labels if places else selector.labels,
        )


# The backslashes that Grafana's `regex` format puts into a query, made harmless. The formatter does not know
# where a variable stands, so `up{instance="$i"}` arrives as `up{instance="10\.0\.0\.1"}`, whose `\.` no
# engine accepts.

# What the formatter puts a backslash before. A doubled backslash may be meant, so it stays.
_FORMATTED = frozenset("^$*+?.()|[]{}/")
_FORMATTED_PAIR = re.compile(r"\\([\^$*+?.()|\[\]{}/])|\\.", re.DOTALL)
_UNKNOWN = re.compile(r"\\([abfnrtv\\'\"xuU0-7])|\\(.)", re.DOTALL)

_REGEX_ARGUMENTS = frozenset([("label_replace", 4), ("label_match", 2), ("label_mismatch", 2), ("label_transform", 2)])


def repair_escapes(promql: str) -> str:
    """The query without escapes that PromQL does not know; doing it twice changes nothing more."""
    return _repair(QueryText(promql))


def _repair(query: QueryText) -> str:
    if "\\" not in query.text:
        return query.text
    pieces: list[str] = []
    backslash = ""
    for place in locate_tokens(query.parsed.tokens):
        text = place.token.text
        # Outside strings a backslash is a token of its own, told by what follows it.
        pieces.append("" if text[0] in _FORMATTED else backslash)
        if text == "\\" and not backslash:
            backslash = text
            continue
        pieces.append(_string(place) if place.token.kind is Kind.STRING else text)
        backslash = ""
    return "".join([*pieces, backslash])


def _string(place: TokenPlace) -> str:
    text, is_regex = place.token.text, _is_regex(place)
    if text[0] == "`":
        # Raw strings have no illegal escape; only a value that must match literally is spoilt.
        return text if is_regex else _FORMATTED_PAIR.sub(lambda pair: pair[1] or pair[0], text)
    kept = r"\\\\\2" if is_regex else r"\2"
    return _UNKNOWN.sub(lambda pair: pair[0] if pair[1] else pair.expand(kept), text)


def _is_regex(place: TokenPlace) -> bool:
    return place.before in ("=~", "!~") or (place.call, place.argument) in _REGEX_ARGUMENTS
