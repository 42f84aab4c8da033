"""Every place where a query reads series, and ad-hoc filters put into each of them."""

import re
from collections.abc import Iterable

from gatewayz_metrics.promql.lexer import Kind, TokenPlace, lex, locate_tokens
from gatewayz_metrics.promql.matchers import Matcher, format_matchers, parse_matchers
from gatewayz_metrics.promql.parser import NAME_LABEL, Selector, parse


def find_selectors(promql: str) -> tuple[Selector, ...]:
    """The selectors of a query in order; raises ValueError with a sentence when it cannot be judged."""
    syntax = parse(promql)
    if syntax.fault:
        raise ValueError(
            f"The selectors of this query cannot be told: {syntax.fault}. Correct the query, or take the filters off."
        )
    return syntax.selectors


def inject_matchers(promql: str, matchers: str) -> str:
    """The query with the matchers in every selector and every other byte as it was.

    Raises ValueError with a sentence for a query whose selectors cannot be told beyond doubt.
    """
    added = parse_matchers(matchers)
    if not added:
        return promql
    places: list[tuple[int, str]] = []
    for selector in find_selectors(promql):
        _refuse_second_name(selector, added)
        places += _places(selector, format_matchers(added))
    return _put(promql, places)


def _refuse_second_name(selector: Selector, added: Iterable[Matcher]) -> None:
    if any(matcher.label == NAME_LABEL for matcher in added) and selector.is_named and not selector.is_info:
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


# DOC r"""The backslashes that Grafana's `regex` format puts into a query, made harmless.
#
# The formatter does not know where a variable stands, so `up{instance="$i"}` arrives as
# `up{instance="10\.0\.0\.1"}`, whose `\.` no engine accepts.
#


# What the formatter puts a backslash before. A doubled backslash may be meant, so it stays.
_FORMATTED = frozenset("^$*+?.()|[]{}/")
_FORMATTED_PAIR = re.compile(r"\\([\^$*+?.()|\[\]{}/])|\\.", re.DOTALL)
_UNKNOWN = re.compile(r"\\([abfnrtv\\'\"xuU0-7])|\\(.)", re.DOTALL)

_REGEX_ARGUMENTS = frozenset([("label_replace", 4), ("label_match", 2), ("label_mismatch", 2), ("label_transform", 2)])


def repair_escapes(promql: str) -> str:
    """The query without escapes that PromQL does not know; doing it twice changes nothing more."""
    pieces: list[str] = []
    backslash = ""
    for place in locate_tokens(lex(promql)):
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
