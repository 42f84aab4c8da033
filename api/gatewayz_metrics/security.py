"""Authentication by tokens (RFC 6750, or the header X-API-Key), compared in constant time, and who a request is for.

A service token gives access to everything, a tenant's token to the tenant's data on the Prometheus API.
"""

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256

from fastapi import Request
from pydantic import SecretStr

from gatewayz_metrics.errors import Unauthorized
from gatewayz_metrics.upstream.principal import SERVICE, Principal, current_principal, set_principal
from gatewayz_metrics.upstream.request import UNRESTRICTED, Tenant

# Grafana names its user here where `send_user_header` is on,
# https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/#send_user_header.
_USER_HEADER = "x-grafana-user"
_LONGEST_USER = 100
# How a request shows its token, as OpenAPI names it; one of these is enough.
TOKEN_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api-key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

# The headers of an ASGI scope, their names in lower case.
RawHeaders = Iterable[tuple[bytes, bytes]]


class ServiceTokens:
    """The service's own tokens; without any, every request is accepted."""

    def __init__(self, tokens: Iterable[SecretStr], *, is_closed: bool = False) -> None:
        """`is_closed` says that tokens are needed, even while there are none that could be shown."""
        self._digests: list[tuple[bytes, str]] = []
        self.replace(tokens)
        # Whether requests are accepted without a token; fixed, as every request asks.
        self.open = not self._digests and not is_closed

    def replace(self, tokens: Iterable[SecretStr]) -> None:
        """Accept these tokens and no others from now on."""
        # compare_digest reveals differing lengths by its time; digests all have one length.
        digests = [_digest(token.get_secret_value().encode()) for token in tokens]
        # With the name that logs have for it, which tells nothing of a random token.
        self._digests = [(digest, f"token {digest.hex()[:8]}") for digest in digests]

    def check(self, request: Request) -> None:
        """Accept the request and note its principal, or raise Unauthorized.

        The error is the same for absent, wrong and repeated tokens.
        """
        if self.open:
            _note_principal(request, f"address {_address(request)}")
            return
        name = self.find(request.scope["headers"])
        if name is None:
            raise Unauthorized
        _note_principal(request, name)

    def knows(self, request: Request) -> bool:
        """Whether the request shows one of the tokens."""
        return self.find(request.scope["headers"]) is not None

    def find(self, headers: RawHeaders) -> str | None:
        """The name of the token that a request with these headers shows; None when it shows none of the tokens."""
        given = _shown_digest(headers) or b""
        # Compared with every digest, so that the time does not depend on which one matches.
        matches = [name for digest, name in self._digests if hmac.compare_digest(given, digest)]
        return matches[0] if matches else None


class Authenticator:
    """Access to the Prometheus API: by a service token to everything, by a tenant's token to its own data."""

    def __init__(self, tokens: ServiceTokens, tenants: Mapping[str, Tenant]) -> None:
        self._tokens = tokens
        self.replace(tenants)

    def replace(self, tenants: Mapping[str, Tenant]) -> None:
        """Know these tenants, by their tokens, and no others from now on."""
        self._tenants = [(_digest(token.encode()), tenant, f"tenant {tenant!r}") for token, tenant in tenants.items()]

    def check(self, request: Request) -> None:
        """Accept the request and set `request.state.tenant`, or raise Unauthorized."""
        tenant, name = self._find(request.scope["headers"])
        if tenant is None:
            self._tokens.check(request)
        else:
            _note_principal(request, name)
        request.state.tenant = tenant or UNRESTRICTED

    def find_tenant(self, headers: RawHeaders) -> Tenant | None:
        """Whose data a request with these headers may read; None where it is refused."""
        tenant, _ = self._find(headers)
        if tenant is None and (self._tokens.open or self._tokens.find(headers) is not None):
            return UNRESTRICTED
        return tenant

    def _find(self, headers: RawHeaders) -> tuple[Tenant | None, str]:
        """The tenant whose token is shown, and its name for logs."""
        given = _shown_digest(headers) if self._tenants else None
        if given is None:
            return None, ""
        # All are compared here, too: no early exit that time could reveal.
        found = [(tenant, name) for digest, tenant, name in self._tenants if hmac.compare_digest(given, digest)]
        return found[0] if found else (None, "")


def describe_principal() -> str:
    """Who the running request is for, in words for logs, none of them secret; nothing before that is known."""
    principal = current_principal()
    if principal == SERVICE:
        return ""
    return f"{principal.group} user {principal.member}" if principal.member else principal.group


def _note_principal(request: Request, group: str) -> None:
    set_principal(Principal(group, request.headers.get(_USER_HEADER, "")[:_LONGEST_USER]))


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _shown_digest(headers: RawHeaders) -> bytes | None:
    """The digest of the token in `Authorization: Bearer` or `X-API-Key`.

    None without one, when a header is repeated, and when the two differ. Another scheme beside an X-API-Key, as for a
    proxy in front, is none of ours.
    """
    # The bytes that were sent; decoding them as Starlette does would make the end of "\u00e0" a space.
    bearer = key = None
    for name, value in headers:
        if name == b"authorization":
            if bearer is not None:
                return None
            bearer = value
        elif name == b"x-api-key":
            if key is not None:
                return None
            key = value.strip(b" \t")
    if bearer is not None:
        scheme, _, token = bearer.partition(b" ")
        bearer = token.strip(b" \t") if scheme.lower() == b"bearer" else None
    if bearer is None or key is None or bearer == key:
        shown = key if bearer is None else bearer
        return _digest(shown) if shown is not None else None
    return None


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()
