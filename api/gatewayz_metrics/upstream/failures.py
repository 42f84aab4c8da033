"""Answers of the upstream that are no success, as errors of our tree."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gatewayz_metrics.errors import (
    AccessRefused,
    QueryRefused,
    RateLimited,
    Redirected,
    UpstreamError,
    UpstreamFailed,
)
from gatewayz_metrics.upstream.deadline import Deadline
from gatewayz_metrics.upstream.response import parse_refusal
from gatewayz_metrics.upstream.transport import HttpReply


def to_error(reply: HttpReply, deadline: Deadline) -> QueryRefused | UpstreamError:
    """The error for a status other than 200."""
    status = reply.status
    if 300 <= status < 400:
        return Redirected(status)
    if status in (401, 403):
        return AccessRefused(status)
    if status == 429:
        return RateLimited(_parse_retry_after(reply.headers.get("retry-after")))
    refused = parse_refusal(reply.body)
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
