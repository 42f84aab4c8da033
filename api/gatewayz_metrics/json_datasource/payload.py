"""A target's payload: whatever JSON the user wrote, or the builder's strings."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gatewayz_metrics.promql.matchers import Filter, format_filters
from gatewayz_metrics.promql.times import parse_duration

# What Grafana's `regex` format puts a backslash before.
_ESCAPED = re.compile(r"\\([\\^$*+?.()|\[\]{}/])")
_PIECE = re.compile(r"(?:\\.|[^\\|])+")
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

# What the builder makes of a nested object, and what it cannot mean.
_LOST = "[object Object]"


@dataclass(frozen=True, slots=True)
class Payload:
    """The options of one target; what is no object has none."""

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object) -> Self:
        """A payload from a request."""
        return cls({k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else {})

    def text(self, name: str, default: str = "") -> str:
        """A text as written; a list gives its first entry."""
        value = self.values.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if value is None or isinstance(value, dict) or value == _LOST:
            return default
        return str(value).lower() if isinstance(value, bool) else str(value).strip() or default

    def flag(self, name: str) -> bool | None:
        """A yes or no; None when it is absent. Raises ValueError with a sentence."""
        text = self.text(name)
        if text and text.lower() not in _WORDS:
            raise ValueError(f"The payload's {name} cannot be {text[:40]!r}: it is true or false.")
        return _WORDS[text.lower()] if text else None

    def duration_ms(self, name: str) -> int | None:
        """A duration such as `30s` or a number of seconds. Raises ValueError with a sentence."""
        text = self.text(name)
        if not text:
            return None
        ms = parse_duration(text)
        if not ms:
            raise ValueError(f"The payload's {name} cannot be {text[:40]!r}: write a duration such as 30s or 5m.")
        return ms

    def choice(self, name: str, known: Mapping[str, Any] | tuple[str, ...], default: str) -> str:
        """One of the known words. Raises ValueError with a sentence that lists them."""
        text = strip_regex_escapes(self.text(name, default))
        if text not in known:
            raise ValueError(f"The payload's {name} cannot be {text[:40]!r}; there are {', '.join(known)}.")
        return text

    def several(self, name: str) -> tuple[str, ...]:
        """Every value of a list in any spelling: an array, `(a|b)`, `a|b` or `a,b`."""
        value = self.values.get(name)
        if isinstance(value, list):
            # Chosen from a list of values, each whole: blanks and commas belong to it.
            found = [each for item in value if isinstance(item, str | int | float) for each in _alternatives(str(item))]
        else:
            text = value if isinstance(value, str) else self.text(name)
            found = [each.strip(" ") for item in _alternatives(text) for each in item.split(",")]
        return tuple(dict.fromkeys(text for text in found if text and text != _LOST))


def strip_regex_escapes(text: str) -> str:
    """A text without the backslashes of Grafana's `regex` format."""
    return _ESCAPED.sub(r"\1", text)


def _alternatives(text: str) -> list[str]:
    """`(a\\.b|c)` as `a.b` and `c`."""
    inner = text[1:-1] if text.startswith("(") and text.endswith(")") and len(text) > 2 else text
    return [strip_regex_escapes(piece) for piece in _PIECE.findall(inner)]


# Label filters of a payload as matchers.


# What a payload's names mean before they mean labels; such a label is named within `filters`.
OPTIONS = frozenset(["function", "by", "window", "format", "legend", "instant", "join", "step", "unit", "filters"])

# What "All" may arrive as; a variable's own all value comes as it was written.
_EVERYTHING = frozenset([".*", "$__all", "All"])


def chosen_matchers(payload: Payload, labels: Iterable[str], longest: int | None = None) -> str:
    """The matchers for those labels that the payload gives values, and for its `filters`.

    Raises ValueError with a sentence when they have more than `longest` characters.
    """
    names = [label for label in labels if label not in OPTIONS]
    return format_filters([*_named(payload, names), *_listed(payload.values.get("filters"))], longest)


def _named(payload: Payload, labels: Iterable[str]) -> Iterator[Filter]:
    for label in labels:
        values = payload.several(label)
        if values and not _EVERYTHING.intersection(values):
            yield _filter(label, values)


def _listed(filters: object) -> Iterator[Filter]:
    """`{"job": "api"}`, or items as ad-hoc filters have them."""
    if isinstance(filters, dict):
        yield from _named(Payload.of(filters), filters)
    elif isinstance(filters, list):
        yield from (Filter.of(item) for item in filters if isinstance(item, dict))


def _filter(label: str, values: tuple[str, ...]) -> Filter:
    if values == (".+",):
        return Filter(label, "=~", ".+")
    return Filter(label, "=", values[0]) if len(values) == 1 else Filter(label, "=|", values[0], values)
