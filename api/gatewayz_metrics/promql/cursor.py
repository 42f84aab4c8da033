"""The tokens that mean something, read one after the other."""

from collections.abc import Container

from gatewayz_metrics.promql.lexer import Kind, Token

END = Token(Kind.SPACE, "", -1)


class Fault(ValueError):
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
            raise Fault("it ends too early", self.last.end)
        if token.kind is Kind.ERROR:
            quoted = token.text[0] in "\"'`"
            raise Fault("a string is not closed" if quoted else f"{token.text[:20]!r} is not PromQL", token.start)
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

    def misplaced(self, token: Token) -> Fault:
        """The fault of a token that cannot stand where it stands."""
        return Fault(f"{token.text[:20]!r} is not expected", token.start)
