"""PromQL text as tokens that, joined, are the text again: any text, in linear time, without an error.

What a word is (a metric, a label, a keyword) depends on its place; `syntax` decides that.
"""

import re
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a token is."""

    SPACE = "space"
    COMMENT = "comment"
    STRING = "string"
    NUMBER = "number"
    DURATION = "duration"
    OPERATOR = "operator"
    PUNCTUATION = "punctuation"
    MACRO = "macro"
    WORD = "word"
    ERROR = "error"

    # The words once their place is known.
    METRIC = "metric"
    LABEL = "label"
    FUNCTION = "function"
    AGGREGATOR = "aggregator"
    KEYWORD = "keyword"


class Token(NamedTuple):
    """A piece of the text and where it starts."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the next token starts."""
        return self.start + len(self.text)

    @property
    def is_blank(self) -> bool:
        """Whether the engine skips it."""
        return self.kind in (Kind.SPACE, Kind.COMMENT)


# Grafana's three spellings. A format never holds a quote, a brace or a comment sign, so that text which
# is no macro cannot swallow the beginning of a string.
MACRO = re.compile(
    r"\$\{(?P<braced>[A-Za-z_]\w*)(?P<tail>[.:][\w.:, /+-]*)?\}"
    r"|\[\[(?P<bracketed>[A-Za-z_]\w*)(?::(?P<format>\w+))?\]\]"
    r"|\$(?P<bare>[A-Za-z_]\w*)",
    re.ASCII,
)

_DIGITS = r"[0-9]++(?:_[0-9]++)*+"
_NUMBER = (
    rf"0[xX]_?[0-9a-fA-F]++(?:_[0-9a-fA-F]++)*+|(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?"
)
_UNITS = "".join(rf"(?:[0-9]++{unit})?" for unit in ("y", "w", "d", "h", "m(?!s)", "s", "ms"))
_DOUBLE = r'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+'
_SINGLE = r"'[^'\\\n]*+(?:\\[^\n][^'\\\n]*+)*+"
_RAW = r"`[^`]*+"

# What is broken is taken as far as it was looked at, or looking again would cost the square of the length.
_BEFORE_WORD = (
    ("SPACE", r"[ \t\r\n]++"),
    ("COMMENT", r"#[^\r\n]*+"),
    ("STRING", rf'{_DOUBLE}"|{_SINGLE}\'|{_RAW}`'),
    ("BROKEN_STRING", rf"{_DOUBLE}|{_SINGLE}|{_RAW}"),
    ("MACRO", re.sub(r"\?P<\w+>", "?:", MACRO.pattern)),
    ("NUMBER", rf"(?:{_NUMBER})(?![\w.])"),
    ("DURATION", rf"(?=[0-9]){_UNITS}(?<=[a-z])(?![\w.])"),
    ("BROKEN_NUMBER", r"\.?[0-9][\w.]*+"),
)
_AFTER_WORD = (
    ("OPERATOR", r"[=!]~|[=!<>]=|[-+*/%^<>=@]"),
    ("PUNCTUATION", r"[(){}\[\],:]"),
    ("ERROR", r"(?s:.)"),
)


def _pattern(word: str) -> re.Pattern[str]:
    named = (*_BEFORE_WORD, ("WORD", word), *_AFTER_WORD)
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in named), re.ASCII)


_OUTSIDE = _pattern(r"[A-Za-z_:][\w:]*+")
# Between brackets a colon parts the range from the resolution.
_BRACKETED = _pattern(r"[A-Za-z_]\w*+")

_KINDS = {"BROKEN_STRING": Kind.ERROR, "BROKEN_NUMBER": Kind.ERROR} | {kind.name: kind for kind in Kind}


def lex(text: str) -> list[Token]:
    """The tokens of any text; what PromQL does not know becomes error tokens."""
    tokens: list[Token] = []
    pattern, at = _OUTSIDE, 0
    while match := pattern.match(text, at):
        piece = match[0]
        tokens.append(Token(_KINDS[match.lastgroup or "ERROR"], piece, at))
        at = match.end()
        if piece == "[":
            pattern = _BRACKETED
        elif piece == "]":
            pattern = _OUTSIDE
    return tokens
