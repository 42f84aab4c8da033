"""Who may ask, and for whose data: bearer tokens, compared in constant time."""

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256

from fastapi import Request
from pydantic import SecretStr

from gatewayz_metrics.errors import Unauthorized
from gatewayz_metrics.upstream.request import UNRESTRICTED, Tenant


class ServiceTokens:
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
        given = _shown(headers) or b""
        # Every digest is compared, whatever the first one said.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return any(matches)


class Authenticator:
    """Who may use the Prometheus API: the service's own tokens for everything, a tenant's for its own data."""

    def __init__(self, tokens: ServiceTokens, tenants: Mapping[str, Tenant]) -> None:
        self._tokens = tokens
        self._tenants = [(_digest(token.encode()), tenant) for token, tenant in tenants.items()]

    def check(self, request: Request) -> None:
        """Let the request pass, with its tenant noted, or raise Unauthorized."""
        request.state.tenant = self._tenant(request)

    def _tenant(self, request: Request) -> Tenant:
        given = _shown(request.headers.getlist("authorization"))
        if given is not None:
            found = [tenant for digest, tenant in self._tenants if hmac.compare_digest(given, digest)]
            if found:
                return found[0]
        self._tokens.check(request)
        return UNRESTRICTED


def _shown(headers: list[str]) -> bytes | None:
    """The digest of the one bearer token that a request shows."""
    if len(headers) != 1:
        return None
    scheme, _, token = headers[0].partition(" ")
    return _digest(token.strip().encode("latin-1", "replace")) if scheme.lower() == "bearer" else None


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()
