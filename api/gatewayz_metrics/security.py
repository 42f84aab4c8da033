"""Authentication by bearer tokens (RFC 6750), compared in constant time, and who a request is for.

A service token gives access to everything, a tenant's token to the tenant's data on the Prometheus API.
"""

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256

from fastapi import Request
from pydantic import SecretStr

from gatewayz_metrics.errors import Unauthorized
from gatewayz_metrics.upstream.principal import Principal, set_principal
from gatewayz_metrics.upstream.request import UNRESTRICTED, Tenant

# Grafana names its user here where `send_user_header` is on,
# https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/#send_user_header.
_USER_HEADER = "x-grafana-user"
_LONGEST_USER = 100
# How a request shows its token, as OpenAPI names it; one of these is enough.
TOKEN_SCHEMES: Mapping[str, Mapping[str, str]] = {"bearer": {"type": "http", "scheme": "bearer"}}


class ServiceTokens:
    """The service's own tokens; without any, every request is accepted."""

    def __init__(self, tokens: Iterable[SecretStr]) -> None:
        # compare_digest reveals differing lengths by its time; digests all have one length.
        self._digests = [_digest(token.get_secret_value().encode()) for token in tokens]
        # Whether requests are accepted without a token; fixed, as every request asks.
        self.open = not self._digests

    def check(self, request: Request) -> None:
        """Accept the request and note its principal, or raise Unauthorized.

        The error is the same for absent, wrong and repeated tokens.
        """
        if self.open:
            _note_principal(request, f"address {_address(request)}")
            return
        given = _bearer_digest(request.headers.getlist("authorization")) or b""
        # Compared with every digest, so that the time does not depend on which one matches.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        if not any(matches):
            raise Unauthorized
        _note_principal(request, f"token {matches.index(True)}")


class Authenticator:
    """Access to the Prometheus API: by a service token to everything, by a tenant's token to its own data."""

    def __init__(self, tokens: ServiceTokens, tenants: Mapping[str, Tenant]) -> None:
        self._tokens = tokens
        self._tenants = [(_digest(token.encode()), tenant) for token, tenant in tenants.items()]

    def check(self, request: Request) -> None:
        """Accept the request and set `request.state.tenant`, or raise Unauthorized."""
        request.state.tenant = self._find_tenant(request)

    def _find_tenant(self, request: Request) -> Tenant:
        given = _bearer_digest(request.headers.getlist("authorization"))
        if given is not None:
            # All are compared here, too: no early exit that time could reveal.
            found = [tenant for digest, tenant in self._tenants if hmac.compare_digest(given, digest)]
            if found:
                _note_principal(request, f"tenant {found[0]!r}")
                return found[0]
        self._tokens.check(request)
        return UNRESTRICTED


def _note_principal(request: Request, group: str) -> None:
    set_principal(Principal(group, request.headers.get(_USER_HEADER, "")[:_LONGEST_USER]))


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _bearer_digest(headers: list[str]) -> bytes | None:
    """The digest of a request's bearer token; None without one, or when the header is repeated."""
    if len(headers) != 1:
        return None
    scheme, _, token = headers[0].partition(" ")
    # The bytes that were sent: ASGI headers are decoded as Latin-1, whose no-break space is the second byte of "à".
    return _digest(token.strip(" \t").encode("latin-1", "replace")) if scheme.lower() == "bearer" else None


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()
