r"""The backslashes that Grafana's `regex` format puts into a query, made harmless.

The formatter does not know where a variable stands, so `up{instance="$i"}` arrives as
`up{instance="10\.0\.0\.1"}`, whose `\.` no engine accepts.
"""

import re

from gatewayz_metrics.promql.calls import Place, places
from gatewayz_metrics.promql.lexer import Kind, lex

# What the formatter puts a backslash before. A doubled backslash may be meant, so it stays.
_FORMATTED = frozenset("^$*+?.()|[]{}/")
_FORMATTED_PAIR = re.compile(r"\\([\^$*+?.()|\[\]{}/])|\\.", re.DOTALL)
_UNKNOWN = re.compile(r"\\([abfnrtv\\'\"xuU0-7])|\\(.)", re.DOTALL)

_REGEX_ARGUMENTS = frozenset([("label_replace", 4), ("label_match", 2), ("label_mismatch", 2), ("label_transform", 2)])


def repair(promql: str) -> str:
    """The query without escapes that PromQL does not know; doing it twice changes nothing more."""
    pieces: list[str] = []
    backslash = ""
    for place in places(lex(promql)):
        text = place.token.text
        # Outside strings a backslash is a token of its own, told by what follows it.
        pieces.append("" if text[0] in _FORMATTED else backslash)
        if text == "\\" and not backslash:
            backslash = text
            continue
        pieces.append(_string(place) if place.token.kind is Kind.STRING else text)
        backslash = ""
    return "".join([*pieces, backslash])


def _string(place: Place) -> str:
    text, is_regex = place.token.text, _is_regex(place)
    if text[0] == "`":
        # Raw strings have no illegal escape; only a value that must match literally is spoilt.
        return text if is_regex else _FORMATTED_PAIR.sub(lambda pair: pair[1] or pair[0], text)
    kept = r"\\\\\2" if is_regex else r"\2"
    return _UNKNOWN.sub(lambda pair: pair[0] if pair[1] else pair.expand(kept), text)


def _is_regex(place: Place) -> bool:
    return place.before in ("=~", "!~") or (place.call, place.argument) in _REGEX_ARGUMENTS
