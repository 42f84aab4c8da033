"""The errors of the service, as one tree.

    ServiceError
    ├── RequestError            the request cannot be answered
    │   ├── InvalidParameter    400  a parameter with a value that the route does not accept
    │   ├── InvalidQuery        400  a panel's query that cannot be understood
    │   ├── PromqlOff           403  PromQL text while ALLOW_PROMQL is off
    │   ├── BodyTooLarge        413  a body above MAX_BODY_BYTES
    │   ├── Unauthorized        401  no token, or an unknown one
    │   ├── LimitExceeded       422  a request or result above one of our limits
    │   ├── AnswerTexts         422  a caller's text, once per series, above what an answer has room for
    │   ├── TooManyPoints       400  more points per series than MAX_POINTS
    │   ├── TooBusy             503  MAX_CONCURRENT_QUERIES are running
    │   ├── ClientGone          499  nobody waits for the answer any more
    │   ├── ReadOnly            403  a path that writes, administers or reveals
    │   ├── UnknownRoute        404  a path that does not exist
    │   └── MethodNotAllowed    405  a path that exists for another method
    ├── InternalError           500  a fault of this service's own
    ├── ConfigurationError      a setting or a catalogue that cannot work
    ├── TargetsFailed           every target of a panel failed, each for its own reason
    ├── QueryRefused            the upstream refused the query: only its value is missing
    ├── NotServed               the upstream has no such path: only its value is missing
    ├── NotOneNumber            an expression of a statistic with several series
    └── UpstreamError           the upstream gave no usable answer to any query
        ├── Unreachable · TlsFailed · TimedOut · QueryTimedOut · ConnectionLost · PoolExhausted
        ├── Redirected · AccessRefused · RateLimited · UpstreamFailed
        └── BadAnswer · AnswerTooLarge · MemoryFull · Misconfigured · CircuitOpen

A message says what happened and what to do about it. No message contains a URL with
credentials: the client removes them before the first request.
"""

from collections.abc import Mapping
from typing import ClassVar


class ServiceError(Exception):
    """Base of all errors: an HTTP status, a code for programs and a sentence for people."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    # The setting, in lower case, whose limit refused the request; counted in gatewayz_metrics_limit_refusals.
    limit: str = ""
    # Seconds after which asking again may help; sent with every 503.
    retry_after: float | None = None

    @property
    def root(self) -> "ServiceError":
        """The error whose status the response has."""
        return self

    @property
    def sentence(self) -> str:
        """What happened and what to do about it."""
        return str(self)


class RequestError(ServiceError):
    """The request cannot be answered as it is."""

    status, code = 400, "bad_request"


class InvalidParameter(RequestError):
    """A parameter has a value that the route does not accept."""

    code = "invalid_parameter"


class InvalidQuery(RequestError):
    """A panel's query cannot be understood, or contains a variable without a value."""

    code = "invalid_query"


class PromqlOff(RequestError):
    """PromQL text was sent while only statistics and families of the catalogue are allowed."""

    status, code = 403, "promql_off"

    def __init__(self, text: str = "") -> None:
        super().__init__(
            f"{text.strip()[:100]!r} is no statistic and no family, and PromQL is switched off (ALLOW_PROMQL); "
            "choose one from the list of metrics."
            if text
            else "PromQL is switched off (ALLOW_PROMQL), and so are selectors; what the catalogue measures is at "
            "/prometheus/metrics and in the JSON datasource."
        )


class BodyTooLarge(RequestError):
    """The body is larger than MAX_BODY_BYTES."""

    status, code = 413, "body_too_large"
    limit = "max_body_bytes"

    def __init__(self, allowed: int) -> None:
        super().__init__(f"The request has more than {allowed:,} bytes, which is what MAX_BODY_BYTES allows.")


class Unauthorized(RequestError):
    """The request has no token, or one that this service does not know."""

    status, code = 401, "unauthorized"

    def __init__(self) -> None:
        super().__init__("This needs a token: send the header 'Authorization: Bearer <token>'.")


class LimitExceeded(RequestError):
    """The request or its result is larger than a limit allows; `setting` is the limit's name."""

    status, code = 422, "limit_exceeded"

    def __init__(self, what: str, setting: str, allowed: str) -> None:
        super().__init__(f"{what}, {setting} allows {allowed}; ask for less, or raise the limit.")
        self.limit = setting.lower()


class AnswerTexts(RequestError):
    """A text of the caller's, such as a legend, would stand in the answer too often."""

    status, code = 422, "texts_too_long"

    def __init__(self, characters: int, allowed: int) -> None:
        super().__init__(
            f"Legends, units, annotations and the like would have {characters:,} characters in the answer, as they "
            f"stand in it once per series or event; there is room for {allowed:,}. Write shorter ones, or ask for less."
        )


class TooManyPoints(RequestError):
    """The step is so small that the range has more points than MAX_POINTS."""

    code = "too_many_points"
    limit = "max_points"

    def __init__(self, allowed: int) -> None:
        # Prometheus' own message, as clients recognise it.
        super().__init__(
            f"exceeded maximum resolution of {allowed:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )


class TooBusy(RequestError):
    """MAX_CONCURRENT_QUERIES queries are running already."""

    status, code = 503, "too_busy"
    limit = "max_concurrent_queries"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"All {allowed} places for queries are taken or others are first, as many as MAX_CONCURRENT_QUERIES allows "
            "and PROMETHEUS_CONNECTIONS leaves; ask again in a moment, or ask for less at once."
        )


class ClientGone(RequestError):
    """The client closed its connection before the answer was there; nobody reads this one."""

    # As nginx counts it; there is no status of HTTP for it.
    status, code = 499, "client_gone"

    def __init__(self) -> None:
        super().__init__("The client went away before the answer was there.")


class ReadOnly(RequestError):
    """The path writes, administers or reveals the configuration of the upstream; none of these is forwarded."""

    status, code = 403, "read_only"

    def __init__(self) -> None:
        super().__init__("This service only reads; ask the upstream itself for anything else.")


class UnknownRoute(RequestError):
    """The path does not exist."""

    status, code = 404, "unknown_route"


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method."""

    status, code = 405, "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"This path answers {allowed}, not {method}: everything here is read-only.")
        self.allowed = allowed


class InternalError(ServiceError):
    """A fault of this service's own; the log has it under the request's id."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Something went wrong in this service itself; its log has it under the id {request_id}.")


class ConfigurationError(ServiceError):
    """A setting or a catalogue contradicts itself or cannot be used."""

    code = "configuration"


class TargetsFailed(ServiceError):
    """Every target of a panel failed; the first error decides the status."""

    code = "targets_failed"

    def __init__(self, errors: Mapping[str, ServiceError]) -> None:
        super().__init__(" ".join(f"target {ref_id}: {error.sentence}" for ref_id, error in errors.items()))
        self._first = next(iter(errors.values()))

    @property
    def root(self) -> ServiceError:
        """The error of the first target."""
        return self._first


class QueryRefused(ServiceError):
    """The upstream refused the query; the message quotes its reason."""

    status, code = 400, "query_refused"

    def __init__(self, error_type: str, message: str) -> None:
        # Cut, as an engine may quote the whole query in its message.
        super().__init__(f"The upstream refuses the query ({error_type}): {message[:500]}")
        self.error_type = error_type
        self.message = message


class NotServed(ServiceError):
    """The upstream does not serve a path of the API; engines and versions differ in which they serve."""

    status, code = 404, "not_served"

    def __init__(self, path: str, status: int) -> None:
        super().__init__(
            f"The upstream does not serve {path} (HTTP {status}); check its version and the path in PROMETHEUS_URL."
        )


class NotOneNumber(ServiceError):
    """The expression of a statistic gives several series."""

    code = "not_one_number"

    def __init__(self, series: int) -> None:
        super().__init__(f"The expression gives {series} series, a statistic is one; aggregate it in the catalogue.")


class UpstreamError(ServiceError):
    """The upstream gave no usable answer."""

    status, code = 502, "upstream_failed"


class Unreachable(UpstreamError):
    """No connection: refused, unknown host or no route, or none that came about within some seconds."""

    code = "unreachable"

    def __init__(self, host: str, seconds: float | None = None) -> None:
        within = "" if seconds is None else f" within {seconds:g} s, as PROMETHEUS_CONNECT_TIMEOUT says"
        super().__init__(f"The upstream at {host} cannot be reached{within}; check PROMETHEUS_URL and that it runs.")


class TlsFailed(UpstreamError):
    """The TCP connection succeeded, the TLS handshake did not; `cause` says why in a few words."""

    code = "tls"

    def __init__(self, host: str, cause: str = "") -> None:
        why = f" ({cause})" if cause else ""
        super().__init__(
            f"The TLS handshake with the upstream at {host} failed{why}; check https in PROMETHEUS_URL, "
            "PROMETHEUS_CA_FILE and PROMETHEUS_CERT_FILE."
        )


class TimedOut(UpstreamError):
    """The complete response did not arrive in time; `setting` names what set the limit.

    `by_upstream` says that the upstream itself gave the query up.
    """

    status, code = 504, "timeout"

    def __init__(self, seconds: float, setting: str = "PROMETHEUS_TIMEOUT", *, by_upstream: bool = False) -> None:
        super().__init__(f"The upstream did not answer within {seconds:g} s; {setting} sets the limit.")
        self.by_upstream = by_upstream


class QueryTimedOut(UpstreamError):
    """The upstream ended a query after its own time limit, and said so in an envelope."""

    status, code = 504, "timeout"

    def __init__(self, message: str) -> None:
        super().__init__(f"The upstream ended the query for its own time limit: {message[:500]}; ask for less at once.")


class ConnectionLost(UpstreamError):
    """The connection ended before the response was complete; the part that arrived is discarded."""

    code = "connection_lost"

    def __init__(self, host: str) -> None:
        super().__init__(f"The upstream at {host} broke the connection before its answer was whole.")


class PoolExhausted(UpstreamError):
    """All PROMETHEUS_CONNECTIONS connections are in use."""

    status, code = 503, "busy"

    def __init__(self) -> None:
        super().__init__("All connections to the upstream are busy; ask again in a moment.")


class Redirected(UpstreamError):
    """The upstream answers with a redirect, which is not followed: it could lead anywhere, credentials included."""

    code = "redirect"

    def __init__(self, status: int) -> None:
        super().__init__(
            f"The upstream answers with a redirect ({status}), which is not followed; "
            "set PROMETHEUS_URL to its final address."
        )


class AccessRefused(UpstreamError):
    """The upstream refuses our credentials (401 or 403)."""

    code = "upstream_auth"

    def __init__(self, status: int) -> None:
        super().__init__(
            f"The upstream refuses our credentials ({status}); check PROMETHEUS_BEARER_TOKEN, "
            "PROMETHEUS_HEADERS or the user in PROMETHEUS_URL."
        )


class RateLimited(UpstreamError):
    """The upstream limits our rate (429); `retry_after` is in seconds, None when it names no time."""

    status, code = 503, "rate_limited"

    def __init__(self, retry_after: float | None) -> None:
        pause = f"{retry_after:g} s" if retry_after is not None else "a moment"
        super().__init__(f"The upstream limits our rate (429); it asks for a pause of {pause}.")
        self.retry_after = retry_after


class UpstreamFailed(UpstreamError):
    """The upstream answers with an error status that has no class of its own here.

    `in_words` says that the answer was an envelope of the protocol: the upstream runs, this query failed.
    """

    def __init__(self, status: int, *, in_words: bool = False) -> None:
        self.answered = status
        self.in_words = in_words
        super().__init__(
            f"The upstream answers with HTTP {status}; check its log"
            + (" and the path in PROMETHEUS_URL." if status == 404 else ".")
        )


class BadAnswer(UpstreamError):
    """A success status with a body that is not a response of the Prometheus API."""

    code = "bad_response"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The upstream's answer is not the Prometheus API's ({why}); does PROMETHEUS_URL name a Prometheus?"
        )


class AnswerTooLarge(UpstreamError):
    """The response is larger than MAX_RESPONSE_BYTES."""

    code = "too_large"
    limit = "max_response_bytes"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"The upstream's answer is larger than {allowed:,} bytes; narrow SELECTOR or raise MAX_RESPONSE_BYTES."
        )
        self.allowed = allowed


class MemoryFull(UpstreamError):
    """What answers under way take together is as much as MAX_MEMORY_BYTES allows."""

    status, code = 503, "memory_full"
    limit = "max_memory_bytes"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"The answers under way take all of the {allowed:,} bytes that MAX_MEMORY_BYTES allows; ask again in a "
            "moment, or ask for less at once."
        )


class Misconfigured(UpstreamError):
    """Our own settings cannot work, so nothing was sent."""

    code = "misconfigured"


class CircuitOpen(UpstreamError):
    """The circuit breaker is open after repeated failures; nothing was sent."""

    status, code = 503, "suspended"

    def __init__(self, cause: UpstreamError, seconds: float) -> None:
        super().__init__(f"{cause.sentence} The next attempt is in {max(seconds, 0.1):.1f} s.")
        self.cause = cause
        self.retry_after = seconds
