"""A target's payload: whatever JSON the user wrote, or the builder's strings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gatewayz_metrics.promql.values import milliseconds

# What Grafana's `regex` format puts a backslash before.
_ESCAPED = re.compile(r"\\([\\^$*+?.()|\[\]{}/])")
_PIECE = re.compile(r"(?:\\.|[^\\|])+")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+|[0-9]+(?:\.[0-9]+)?")
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
        ms = milliseconds(text) if _DURATION.fullmatch(text) and len(text) <= 20 else 0
        if ms <= 0:
            raise ValueError(f"The payload's {name} cannot be {text[:40]!r}: write a duration such as 30s or 5m.")
        return ms

    def choice(self, name: str, known: Mapping[str, Any] | tuple[str, ...], default: str) -> str:
        """One of the known words. Raises ValueError with a sentence that lists them."""
        text = plain(self.text(name, default))
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


def plain(text: str) -> str:
    """A text without the backslashes of Grafana's `regex` format."""
    return _ESCAPED.sub(r"\1", text)


def _alternatives(text: str) -> list[str]:
    """`(a\\.b|c)` as `a.b` and `c`."""
    inner = text[1:-1] if text.startswith("(") and text.endswith(")") and len(text) > 2 else text
    return [plain(piece) for piece in _PIECE.findall(inner)]
