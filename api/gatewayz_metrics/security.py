"""Who may ask: bearer tokens, compared in constant time."""

import hmac
from collections.abc import Iterable
from hashlib import sha256

from fastapi import Request
from pydantic import SecretStr

from gatewayz_metrics.errors import Unauthorized


class Tokens:
    """The tokens that open this service; none at all leaves it open."""

    def __init__(self, tokens: Iterable[SecretStr]) -> None:
        # Digests have one length, so a comparison tells nothing about a token's.
        self._digests = [_digest(token.get_secret_value().encode()) for token in tokens]

    @property
    def open(self) -> bool:
        """Whether anybody may ask."""
        return not self._digests

    def check(self, request: Request) -> None:
        """Let the request pass or raise Unauthorized: the same for absent, wrong and doubled tokens."""
        if not self.open and not self._knows(request.headers.getlist("authorization")):
            raise Unauthorized

    def _knows(self, headers: list[str]) -> bool:
        if len(headers) != 1:
            return False
        scheme, _, token = headers[0].partition(" ")
        given = _digest(token.strip().encode("latin-1", "replace"))
        # Every digest is compared, whatever the first one said.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(matches)


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()
