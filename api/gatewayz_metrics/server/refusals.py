"""What the server refuses before any route sees the request, and how it says so."""

from typing import ClassVar

from fastapi import Request, Response
from starlette.types import Scope

from gatewayz_metrics.errors import RequestError, ServiceError
from gatewayz_metrics.http.route import error_headers, render_json_error
from gatewayz_metrics.prometheus_api.envelope import render_error

_PROMETHEUS_API = "/api/v1/"


class ServerRefusal(RequestError):
    """A request that the server does not hand on; `reason` is its label in gatewayz_metrics_server_refusals."""

    reason: ClassVar[str]


class NoSingleHost(ServerRefusal):
    """No Host header, an empty one, or more than one (RFC 9112, 3.2)."""

    code, reason = "host", "host"

    def __init__(self) -> None:
        super().__init__("The request must name exactly one host, in one Host header.")


class UrlTooLong(ServerRefusal):
    """Path and query string are longer than a URL may be here."""

    status, code, reason = 414, "url_too_long", "url_length"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"The URL has more than {allowed:,} bytes; send the query by POST (HTTP method in Grafana's datasource)."
        )


class DeclaredBodyTooLarge(ServerRefusal):
    """The Content-Length says that the body is longer than any route accepts."""

    status, code, reason = 413, "body_too_large", "body_size"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"The body has more than {allowed:,} bytes, the most that MAX_BODY_BYTES and MAX_QUERY_LENGTH allow."
        )


class BodyTooSlow(ServerRefusal):
    """The body did not arrive within BODY_TIMEOUT."""

    status, code, reason = 408, "body_too_slow", "body_time"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body did not arrive within {seconds:g} s; BODY_TIMEOUT sets the limit.")


class AddressBusy(ServerRefusal):
    """MAX_REQUESTS_PER_ADDRESS requests of the client's address are under way."""

    status, code, reason = 503, "address_busy", "address"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"{allowed} requests of this address are under way already, as many as MAX_REQUESTS_PER_ADDRESS allows; "
            "ask again in a moment."
        )


class ServerFault(ServiceError):
    """A defect of ours; the log has the rest."""

    def __init__(self) -> None:
        super().__init__("The service failed, which is a defect of its own; the log says where.")


REASONS = tuple(
    refusal.reason for refusal in (NoSingleHost, UrlTooLong, DeclaredBodyTooLarge, BodyTooSlow, AddressBusy)
)


def render_refusal(error: ServiceError, scope: Scope) -> Response:
    """An error in the words of the surface that the path belongs to; the connection ends with it."""
    if scope["path"].startswith(_PROMETHEUS_API):
        status, body = render_error(error)
        response = Response(body, status, {"Cache-Control": "no-store", **error_headers(error)}, "application/json")
    else:
        response = render_json_error(error, Request(scope))
    # What is left of the request's body is not read.
    response.headers["Connection"] = "close"
    if error.status == 503:
        response.headers["Retry-After"] = "1"
    return response
