"""The annotations of several answers to one query as those of one answer.

Prometheus 3 writes into some of them what it counted and between which times, so that each piece of a range
has a text of its own (https://github.com/prometheus/prometheus/blob/main/util/annotations/annotations.go).
"""

import re
from collections.abc import Iterable, Sequence

from gatewayz_metrics.upstream.response import AnswerNotes

# What is quoted and where in the query it is (`(1:31)`, at the end) stays; numbers and times go.
_VARYING = re.compile(
    r"""
    (?P<fixed> "(?:[^"\\]|\\.)*" | \(\d+:\d+\)$ )
    | (?<![\w.]) [-+]? (?: \d[\d.]*(?:[eE][-+]?\d+)?  (?:-\d\d-\d\dT[\d:.]+(?:Z|[-+][\d:]+)?)? | Inf | NaN ) (?![\w])
    """,
    re.VERBOSE,
)


def merge_notes(pieces: Iterable[AnswerNotes]) -> AnswerNotes:
    """The warnings and infos of several pieces: each once up to its numbers, as the last piece has it."""
    found = list(pieces)
    return AnswerNotes(
        warnings=_merge(piece.warnings for piece in found),
        infos=_merge(piece.infos for piece in found),
    )


def are_alike(left: AnswerNotes, right: AnswerNotes) -> bool:
    """Whether two pieces have the same warnings and infos up to their numbers."""
    return left == right or _identify(left) == _identify(right)


def _merge(pieces: Iterable[Sequence[str]]) -> tuple[str, ...]:
    found: dict[str, list[str]] = {}
    for piece in pieces:
        # Within one piece the engine itself keeps them apart.
        own: dict[str, list[str]] = {}
        for text in piece:
            own.setdefault(_identity(text), []).append(text)
        found |= own
    return tuple(text for texts in found.values() for text in texts)


def _identify(notes: AnswerNotes) -> tuple[list[str], list[str]]:
    return sorted(map(_identity, notes.warnings)), sorted(map(_identity, notes.infos))


def _identity(text: str) -> str:
    return _VARYING.sub(lambda match: match["fixed"] or "#", text)
