"""What goes wrong on the way to the upstream and back, as errors of our tree."""

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from gatewayz_metrics.errors import (
    AccessRefused,
    BadAnswer,
    ConnectionLost,
    PoolExhausted,
    QueryRefused,
    RateLimited,
    Redirected,
    TlsFailed,
    Unreachable,
    UpstreamError,
    UpstreamFailed,
)
from gatewayz_metrics.upstream.deadline import Deadline
from gatewayz_metrics.upstream.response import parse_refusal
from gatewayz_metrics.upstream.tls import find_tls_error, name_cause


def translate(exc: Exception, host: str, deadline: Deadline) -> UpstreamError:
    """The error of our tree for an error of httpx."""
    # httpcore before 0.18 lets ssl's own errors through. In TLS 1.3 a client certificate is refused at the first read.
    tls = find_tls_error(exc) if isinstance(exc, httpx.NetworkError | ssl.SSLError) else None
    match exc:
        case httpx.PoolTimeout():
            return PoolExhausted()
        case httpx.TimeoutException():
            return deadline.exceeded()
        # An end without a goodbye, as of a server that was killed, is no matter of certificates.
        case _ if tls is not None and not isinstance(tls, ssl.SSLEOFError):
            return TlsFailed(host, name_cause(tls))
        case httpx.ReadError() | httpx.WriteError() | httpx.CloseError() | httpx.RemoteProtocolError():
            return ConnectionLost(host)
        case httpx.DecodingError():
            return BadAnswer("broken compression")
        case _:
            return Unreachable(host)


def to_error(status: int, body: bytes, headers: httpx.Headers, deadline: Deadline) -> QueryRefused | UpstreamError:
    """The error for a status other than 200."""
    if 300 <= status < 400:
        return Redirected(status)
    if status in (401, 403):
        return AccessRefused(status)
    if status == 429:
        return RateLimited(_parse_retry_after(headers.get("retry-after")))
    refused = parse_refusal(body)
    if refused is not None and refused.error_type == "timeout":
        return deadline.exceeded(by_upstream=True)
    if refused is not None and status in (400, 422):
        return refused
    return UpstreamFailed(status, in_words=refused is not None)


def _parse_retry_after(retry_after: str | None) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None when it is absent or malformed."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:6])  # over eleven days; the circuit breaker cuts it anyway
    try:
        until = parsedate_to_datetime(retry_after)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
