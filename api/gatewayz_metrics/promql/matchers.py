"""Label matchers: how they are read, how they are written, and Grafana's ad-hoc filters as matchers.

Whatever becomes part of a query as a label, a value or a list of matchers comes through here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from gatewayz_metrics.promql.lexer import LABEL_NAME, Kind, Token
from gatewayz_metrics.promql.parser import parse

OPERATORS = frozenset(["=", "!=", "=~", "!~"])

# Names and values as PromQL writes them.


def quote(text: str) -> str:
    r"""Text as a PromQL string: `a"b` becomes `"a\"b"`. Raises ValueError for text that is no Unicode."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{text!r} holds half a character. Write it in valid Unicode.") from error
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    # Prometheus takes a written U+FFFD for broken UTF-8 and refuses the query.
    escaped = escaped.replace("\ufffd", r"\ufffd")
    return f'"{escaped}"'


# https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals; `\x` and octal codes are bytes.
_ESCAPE = re.compile(
    rb"\\(?:(?P<sign>[abfnrtv\\])|(?P<quote>['\"])|(?P<octal>[0-7]{3})|x(?P<hex>[0-9a-fA-F]{2})"
    rb"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|)"
)
_SIGNS = dict(zip(b"abfnrtv\\", b"\a\b\f\n\r\t\v\\", strict=True))


def unquote(literal: str) -> str:
    """The text of a PromQL string in any quotes. Raises ValueError for escapes that PromQL does not know."""
    delimiter, inner = literal[:1].encode(), literal[1:-1].encode()
    if delimiter == b"`":
        return inner.decode()
    return _ESCAPE.sub(lambda escape: _unescaped(escape, delimiter), inner).decode()


def _unescaped(escape: re.Match[bytes], delimiter: bytes) -> bytes:
    if sign := escape["sign"]:
        return bytes([_SIGNS[sign[0]]])
    if escape["quote"] == delimiter:
        return delimiter
    if code := escape["octal"]:
        return bytes([int(code, 8)])
    if code := escape["hex"]:
        return bytes([int(code, 16)])
    if code := escape["short"] or escape["long"]:
        return chr(int(code, 16)).encode()
    raise ValueError("an unknown escape")


def format_label_name(text: str) -> str:
    """A label name, in quotes where Prometheus 3 asks for them."""
    return text if LABEL_NAME.fullmatch(text) else quote(text)


def format_series(labels: Mapping[str, str], separator: str = ", ") -> str:
    """A series as Prometheus writes it: `up{job="api"}`."""
    pairs = separator.join(f"{name}={quote(value)}" for name, value in sorted(labels.items()) if name != "__name__")
    return labels.get("__name__", "") + (f"{{{pairs}}}" if pairs else "")


def escape_regex(text: str) -> str:
    """Text as a regular expression that matches it and nothing else."""
    return _SPECIAL.sub(r"\\\g<0>", text)


_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")

# Lists of matchers.


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher; `literal` is the value as it was written."""

    label: str
    operator: str
    value: str
    literal: str

    def __str__(self) -> str:
        return f"{format_label_name(self.label)}{self.operator}{self.literal}"


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """A list of label matchers, with or without braces around it and a comma after it.

    Raises ValueError with a sentence for anything else, so that no list can close its braces and go on as a query.
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    # As a selector, which is how it is read again when it becomes part of a query.
    _, *tokens = (token for token in parse(f"{{{inner}}}").tokens if token.kind is not Kind.SPACE)
    try:
        return tuple(_read_matchers(tokens))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a list of label matchers such as 'env=\"production\"': {error}.") from error


def _read_matchers(tokens: list[Token]) -> Iterator[Matcher]:
    """The matchers before a closing brace. Raises ValueError with a clause."""
    *tokens, last = tokens
    if last.text != "}":
        # A comment, or a string that is not closed, would take the brace with it.
        raise ValueError(f"{last.text[:20]!r} does not end")
    for comma in tokens[3::4]:
        if comma.text != ",":
            raise ValueError(f"a comma is missing at character {comma.start + 1}")
    for at in range(0, len(tokens), 4):
        yield _read_matcher(tokens[at : at + 3])


def _read_matcher(tokens: list[Token]) -> Matcher:
    """One matcher. Raises ValueError with a clause."""
    try:
        label, operator, value = tokens
    except ValueError:
        raise ValueError("a matcher is a label, an operator and a value in quotes") from None
    name = label.text if LABEL_NAME.fullmatch(label.text) else _text(label)
    if not name:
        raise ValueError("a label has no name")
    if operator.text not in OPERATORS:
        raise ValueError(f"{operator.text[:20]!r} is not one of =, !=, =~ and !~")
    found = _text(value)
    return Matcher(name, operator.text, found, quote(found) if "\ufffd" in value.text else value.text)


def _text(token: Token) -> str:
    """The text of a string. Raises ValueError with a clause."""
    if token.kind is not Kind.STRING:
        raise ValueError(f"{token.text[:20]!r} is not in quotes")
    inner = token.text[1:-1]
    if token.text[0] == "`" and (len(inner) - len(inner.rstrip("\\"))) % 2:
        # VictoriaMetrics takes the quote after it for a part of the string and goes on.
        raise ValueError("a string in backquotes ends with a backslash")
    try:
        return unquote(token.text)
    except ValueError as error:
        raise ValueError(f"{token.text[:40]!r} holds an escape that PromQL does not know, or no Unicode") from error


def format_matchers(matchers: Iterable[Matcher]) -> str:
    """Matchers as a list without braces."""
    return ",".join(map(str, matchers))


def normalize_matchers(text: str) -> str:
    """A list of label matchers, tidied: `{ env = "prod", }` becomes `env="prod"`. Raises as `parse_matchers` does."""
    return format_matchers(parse_matchers(text))


# Grafana's ad-hoc filters.

_ONE_OF = {"=|": "=~", "!=|": "!~"}
_ORDERED = frozenset(["<", ">", "<=", ">="])


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

    @property
    def length(self) -> int:
        """How many characters the user chose."""
        return len(self.key) + len(self.value) + sum(map(len, self.values))

    def matcher(self) -> str:
        """The filter in PromQL; raises ValueError with a sentence when PromQL has no such thing."""
        if self.operator in OPERATORS:
            return f"{format_label_name(self.key)}{self.operator}{quote(self.value)}"
        if self.operator in _ONE_OF:
            pattern = "|".join(escape_regex(value) for value in self.values or (self.value,))
            return f"{format_label_name(self.key)}{_ONE_OF[self.operator]}{quote(pattern)}"
        if self.operator in _ORDERED:
            raise ValueError(
                f"The filter on {self.key!r} uses {self.operator!r}, but label values are text and have no order. "
                "Use =, !=, =~ or !~ instead."
            )
        raise ValueError(f"{self.operator!r} is not an operator of a filter. Use =, !=, =~, !~, =| or !=|.")


# Of one request; far more than anybody chooses by hand, and as many as a variable's "All" may bring.
MOST_FILTERS = 100
MOST_VALUES = 5000


def format_filters(filters: Iterable[Filter], longest: int | None = None) -> str:
    """All complete filters as one list of matchers, each once; empty when there is none.

    Raises ValueError with a sentence for what PromQL does not have, and for too many filters, values or characters.
    """
    complete = [one for one in filters if one.is_complete]
    check_filters(complete, longest)
    return ",".join(dict.fromkeys(one.matcher() for one in complete))


def check_filters(filters: Sequence[Filter], longest: int | None = None) -> None:
    """Raises ValueError with a sentence for too many filters, values or characters, before any text is made of them."""
    if len(filters) > MOST_FILTERS:
        raise ValueError(f"There are {len(filters):,} filters; {MOST_FILTERS} are allowed.")
    values = max((len(one.values) for one in filters), default=0)
    if values > MOST_VALUES:
        raise ValueError(f"A filter has {values:,} values; {MOST_VALUES:,} are allowed. Use a regular expression.")
    length = sum(one.length for one in filters)
    if longest is not None and length > longest:
        raise ValueError(f"The filters have {length:,} characters; MAX_QUERY_LENGTH allows {longest:,}.")
