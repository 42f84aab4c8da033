"""Parsed queries: each text is read once, and what was read is shared by everything that judges or changes it.

query = QueryText(text)     nothing is read yet
query.parsed                the parsed query, from the process-wide cache or read now
query.parsed.traits         what a cache must know, worked out once per parsed query
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from gatewayz_metrics.bounded_store import BoundedStore
from gatewayz_metrics.promql.cacheability import CacheTraits, judge
from gatewayz_metrics.promql.grammar import Syntax
from gatewayz_metrics.promql.lexer import Kind
from gatewayz_metrics.promql.macros import find_unresolved, may_hold_macro

# Bytes as measured with tracemalloc on CPython 3.11: a token is a tuple with a text and a number of its own.
_QUERY_BYTES = 1500
_TOKEN_BYTES = 160
_SELECTOR_BYTES = 500


@dataclass(frozen=True)
class ParsedQuery(Syntax):
    """A query as it was read, with what follows from that; it never changes, so that everybody may share it."""

    @cached_property
    def unresolved(self) -> tuple[str, ...]:
        """The macros and variables that nothing has given a value yet, as written."""
        return find_unresolved(self.tokens) if may_hold_macro(self.text) else ()

    @cached_property
    def traits(self) -> CacheTraits:
        """What decides whether and for how long answers may be kept."""
        return judge(self, self.unresolved)

    @cached_property
    def windows(self) -> tuple[str, ...]:
        """The durations that stand alone in brackets, `5m` of `rate(up[5m])`, each once and in order."""
        solid = [token for token in self.tokens if not token.is_blank]
        around = zip(solid, solid[1:], solid[2:], strict=False)
        return tuple(
            dict.fromkeys(
                token.text
                for before, token, after in around
                if before.text == "[" and token.kind is Kind.DURATION and after.text == "]"
            )
        )

    @property
    def weight(self) -> int:
        """The bytes that it takes, about."""
        tokens, selectors = len(self.tokens), len(self.selectors)
        return _QUERY_BYTES + 2 * len(self.text) + _TOKEN_BYTES * tokens + _SELECTOR_BYTES * selectors


class ParsedQueries:
    """A bounded cache of parsed queries, under the digest of their text: a key has one size, whatever its text has."""

    def __init__(self, capacity: int) -> None:
        # Worth keeping are the few hundred queries of dashboards, not one giant in their place.
        self._kept: BoundedStore[ParsedQuery] = BoundedStore(capacity, largest_share=1 / 8)

    @property
    def weight(self) -> int:
        """The bytes that all of them take, about."""
        return self._kept.size

    def get(self, text: str) -> ParsedQuery:
        """The query that a text is, read now if it is not kept."""
        key = sha256(text.encode("utf-8", "surrogatepass")).digest()
        found = self._kept.get(key)
        if found is None:
            found = ParsedQuery.read(text)
            self._kept.put(key, found, found.weight)
        return found

    def clear(self) -> None:
        """Forget every query."""
        self._kept.clear()


# One for the process, as a text means the same to every service in it.
PARSED = ParsedQueries(8 * 2**20)


def parse(text: str) -> ParsedQuery:
    """The query that any text is; what cannot be judged has a fault."""
    return PARSED.get(text)


@dataclass(frozen=True)
class QueryText:
    """The text of a query on its way through a request: read when somebody asks what is in it, and then once.

    The cache alone would not do for that: it does not keep every query.
    """

    text: str
    read: Callable[[str], ParsedQuery] = field(default=parse, repr=False, compare=False)

    @cached_property
    def parsed(self) -> ParsedQuery:
        """What is in it."""
        return self.read(self.text)

    @property
    def unresolved(self) -> tuple[str, ...]:
        """The macros and variables that nothing has given a value yet; text without their signs is not read."""
        return self.parsed.unresolved if may_hold_macro(self.text) else ()
