"""Grafana's ad-hoc filters as label matchers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

# DOC The small doors through which foreign text enters PromQL.


LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

_STRING = r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`"""
_MATCHER = re.compile(rf"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*({_STRING})\s*")


def quote(text: str) -> str:
    r"""Text as a PromQL string literal: `a"b` becomes `"a\"b"`."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def normalize_matchers(text: str) -> str:
    """A list of label matchers, tidied: `{ env = "prod", }` becomes `env="prod"`.

    Raises ValueError with a sentence when the text is anything else, so that a
    configured selector can never close its braces and go on as a query.
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    inner = inner.strip().removesuffix(",")
    found: list[str] = []
    at = 0
    while inner[at:].strip():
        matcher = _MATCHER.match(inner, at)
        if matcher is None:
            raise ValueError(f"{text!r} is not a list of label matchers such as 'env=\"production\"'.")
        found.append("".join(matcher.groups()))
        at = matcher.end()
        if at < len(inner):
            if inner[at] != ",":
                raise ValueError(f"{text!r} lacks a comma between two label matchers.")
            at += 1
    return ",".join(found)


_PLAIN = frozenset(["=", "!=", "=~", "!~"])
_ONE_OF = {"=|": "=~", "!=|": "!~"}
_ORDERED = frozenset(["<", ">", "<=", ">="])
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter as the user chose it: nothing in it is escaped yet."""

    key: str
    operator: str
    value: str = ""
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """A filter of a request; absent and null are the same, and other fields are ignored."""
        key, operator, value = (str(item.get(field) or "") for field in ("key", "operator", "value"))
        values = item.get("values")
        several = tuple(str(each) for each in values if each is not None) if isinstance(values, list | tuple) else ()
        return cls(key, operator, value, several)

    @property
    def is_complete(self) -> bool:
        """Whether the user has finished choosing it."""
        return bool(self.key and self.operator and (self.value or (self.operator in _ONE_OF and self.values)))

    def matcher(self) -> str:
        """The filter in PromQL; raises ValueError with a sentence when PromQL has no such thing."""
        if self.operator in _PLAIN:
            return f"{format_label_name(self.key)}{self.operator}{literal(self.value)}"
        if self.operator in _ONE_OF:
            pattern = "|".join(escape_regex(value) for value in self.values or (self.value,))
            return f"{format_label_name(self.key)}{_ONE_OF[self.operator]}{literal(pattern)}"
        if self.operator in _ORDERED:
            raise ValueError(
                f"The filter on {self.key!r} uses {self.operator!r}, but label values are text and have no order. "
                "Use =, !=, =~ or !~ instead."
            )
        raise ValueError(f"{self.operator!r} is not an operator of a filter. Use =, !=, =~, !~, =| or !=|.")


def format_filters(filters: Iterable[Filter]) -> str:
    """All complete filters as one list of matchers, each once; empty when there is none."""
    return ",".join(dict.fromkeys(one.matcher() for one in filters if one.is_complete))


def format_label_name(text: str) -> str:
    """A label name, in quotes where Prometheus 3 asks for them."""
    return text if LABEL_NAME.fullmatch(text) else literal(text)


def literal(text: str) -> str:
    """Any text as a PromQL string; raises ValueError for text that is no Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} holds half a character. Write it in valid Unicode.") from error
    # Prometheus takes a written U+FFFD for broken UTF-8 and refuses the query.
    return quote(text).replace("\ufffd", r"\ufffd")


def escape_regex(text: str) -> str:
    """Text as a regular expression that matches it and nothing else."""
    return _SPECIAL.sub(r"\\\g<0>", text)
