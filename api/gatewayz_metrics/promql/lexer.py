"""PromQL text as tokens that, joined, are the text again: any text, in linear time, without an error.

What a word is (a metric, a label, a keyword) depends on its place; `grammar` decides that.
"""

import re
from collections.abc import Container, Iterable, Iterator
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


LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

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


# Walking over the tokens that mean something, blanks and comments aside.

END = Token(Kind.SPACE, "", -1)


class ParseFault(ValueError):
    """Why a query cannot be judged, as a clause that names the place."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(f"{what} at character {at + 1}")


class Cursor:
    """A walk over the tokens of a query that notes what each word turns out to be."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self._solid = [number for number, token in enumerate(tokens) if not token.is_blank]
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._solid)

    @property
    def last(self) -> Token:
        """The token taken last."""
        return self.tokens[self._solid[self._at - 1]] if self._at else END

    def peek(self, ahead: int = 0) -> Token:
        """A token further on, without taking it."""
        at = self._at + ahead
        return self.tokens[self._solid[at]] if at < len(self._solid) else END

    def word(self, ahead: int = 0) -> str:
        """A word further on, in lower case; empty when it is something else."""
        token = self.peek(ahead)
        return token.text.lower() if token.kind is Kind.WORD else ""

    def take(self) -> Token:
        """The next token."""
        token = self.peek()
        if not self.more:
            raise ParseFault("it ends too early", self.last.end)
        if token.kind is Kind.ERROR:
            quoted = token.text[0] in "\"'`"
            raise ParseFault("a string is not closed" if quoted else f"{token.text[:20]!r} is not PromQL", token.start)
        self._at += 1
        return token

    def accept(self, *texts: str) -> bool:
        """Takes the next token when it is one of these."""
        if self.peek().text.lower() not in texts:
            return False
        self.take()
        return True

    def expect(self, text: str) -> Token:
        """The next token, which has to be this one."""
        token = self.take()
        if token.text != text:
            raise self.misplaced(token)
        return token

    def expect_kind(self, kinds: Container[Kind]) -> Token:
        """The next token, which has to be of one of these kinds."""
        token = self.take()
        if token.kind not in kinds:
            raise self.misplaced(token)
        return token

    def mark(self, kind: Kind) -> Token:
        """Notes what the word taken last is."""
        at = self._solid[self._at - 1]
        self.tokens[at] = self.tokens[at]._replace(kind=kind)
        return self.tokens[at]

    def mark_next(self, kind: Kind) -> Token:
        """Takes the next word and notes what it is."""
        self.take()
        return self.mark(kind)

    def misplaced(self, token: Token) -> ParseFault:
        """The fault of a token that cannot stand where it stands."""
        return ParseFault(f"{token.text[:20]!r} is not expected", token.start)


# Which argument of which call a token stands in, for text that may not even be valid PromQL.

WORDS = frozenset([Kind.WORD, Kind.METRIC, Kind.LABEL, Kind.FUNCTION, Kind.AGGREGATOR, Kind.KEYWORD])
_CLOSES = {")": "(", "}": "{", "]": "["}


class TokenPlace(NamedTuple):
    """A token, the call whose argument it directly is, and what stands before it."""

    token: Token
    call: str
    argument: int
    before: str


class _Level:
    """An open parenthesis, brace or bracket."""

    def __init__(self, opener: str, call: str = "") -> None:
        self.opener = opener
        self.call = call
        self.argument = 0


def locate_tokens(tokens: Iterable[Token]) -> Iterator[TokenPlace]:
    """Every token with its place; `call` is empty outside the parentheses of a call."""
    levels = [_Level("")]
    before = Token(Kind.SPACE, "", 0)
    for token in tokens:
        yield TokenPlace(token, levels[-1].call, levels[-1].argument, before.text)
        # A backslash of Grafana's formatter does not part a sign from what it belongs to.
        if token.is_blank or token.text == "\\":
            continue
        if token.text in ("(", "{", "["):
            called = token.text == "(" and before.kind in WORDS
            levels.append(_Level(token.text, before.text.lower() if called else ""))
        elif _CLOSES.get(token.text) == levels[-1].opener:
            levels.pop()
        elif token.text == ",":
            levels[-1].argument += 1
        before = token
