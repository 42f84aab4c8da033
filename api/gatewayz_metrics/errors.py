"""Everything that can go wrong, as one tree.

    ServiceError
    ├── RequestError            the caller's doing
    │   ├── InvalidParameter    400  a value that no route takes
    │   ├── InvalidQuery        400  a panel's query that nobody can answer
    │   ├── PromqlOff           403  PromQL text where only the catalogue may be asked
    │   ├── BodyTooLarge        413  more bytes than we read
    │   ├── Unauthorized        401  no token, or not one of ours
    │   ├── LimitExceeded       422  more than one of our limits allows
    │   ├── TooManyPoints       400  a resolution that no engine takes
    │   ├── TooBusy             503  too many queries at once
    │   ├── ReadOnly            403  a path that would change or reveal something
    │   ├── UnknownRoute        404  a path that does not exist
    │   └── MethodNotAllowed    405  a path that exists for another method
    ├── ConfigurationError      a setting or a catalogue that cannot work
    ├── TargetsFailed           every query of a panel failed, each for its own reason
    ├── QueryRefused            the upstream understood and said no: one question is lost
    ├── NotServed               the upstream has no such path: one question is lost
    ├── NotOneNumber            an expression with several series where one was promised
    └── UpstreamError           the upstream gave no usable answer: every question is lost
        ├── Unreachable · TlsFailed · TimedOut · ConnectionLost · PoolExhausted
        ├── Redirected · AccessRefused · RateLimited · UpstreamFailed
        └── BadAnswer · AnswerTooLarge · Misconfigured · Suspended

A sentence names what happened and what helps. Nothing here ever holds a URL with
credentials: the client takes them out before the first request.
"""

from collections.abc import Mapping
from typing import ClassVar


class ServiceError(Exception):
    """The root: every error of this service has a code, a status and a sentence."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    # The setting (in lower case) whose limit refused the request, if one did.
    limit: str = ""

    @property
    def root(self) -> "ServiceError":
        """The error that decides the status."""
        return self

    @property
    def sentence(self) -> str:
        """What happened and what helps, for people."""
        return str(self)


class RequestError(ServiceError):
    """The caller asked for something that cannot be answered."""

    status, code = 400, "bad_request"


class InvalidParameter(RequestError):
    """A parameter has a value that the route does not take."""

    code = "invalid_parameter"


class InvalidQuery(RequestError):
    """A panel's query makes no sense, or holds what nothing gave a value."""

    code = "invalid_query"


class PromqlOff(RequestError):
    """PromQL text arrived where only statistics and families may be asked for."""

    status, code = 403, "promql_off"

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text.strip()[:100]!r} is no statistic and no family, and PromQL is switched off (ALLOW_PROMQL); "
            "choose one from the list of metrics."
        )


class BodyTooLarge(RequestError):
    """The request's body has more bytes than we read."""

    status, code = 413, "body_too_large"
    limit = "max_body_bytes"

    def __init__(self, allowed: int) -> None:
        super().__init__(f"The request has more than {allowed:,} bytes, which is what MAX_BODY_BYTES allows.")


class Unauthorized(RequestError):
    """The request carries no token of ours."""

    status, code = 401, "unauthorized"

    def __init__(self) -> None:
        super().__init__("This needs a token: send the header 'Authorization: Bearer <token>'.")


class LimitExceeded(RequestError):
    """The question or its answer is larger than a limit allows."""

    status, code = 422, "limit_exceeded"

    def __init__(self, what: str, setting: str, allowed: str) -> None:
        super().__init__(f"{what}, {setting} allows {allowed}; ask for less, or raise the limit.")
        self.limit = setting.lower()


class TooManyPoints(RequestError):
    """The step is too small for the range."""

    code = "too_many_points"
    limit = "max_points"

    def __init__(self, allowed: int) -> None:
        # Prometheus' own words: clients and people know them.
        super().__init__(
            f"exceeded maximum resolution of {allowed:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )


class TooBusy(RequestError):
    """As many queries are under way as we let through."""

    status, code = 503, "too_busy"
    limit = "max_concurrent_queries"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"{allowed} queries are under way already, as many as MAX_CONCURRENT_QUERIES allows; "
            "ask again in a moment, or ask for less at once."
        )


class ReadOnly(RequestError):
    """The path writes, administers or reveals."""

    status, code = 403, "read_only"

    def __init__(self) -> None:
        super().__init__("This service only reads; ask the upstream itself for anything else.")


class UnknownRoute(RequestError):
    """The path does not exist."""

    status, code = 404, "unknown_route"


class MethodNotAllowed(RequestError):
    """The path exists, for other methods."""

    status, code = 405, "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"This path answers {allowed}, not {method}: everything here is read-only.")
        self.allowed = allowed


class ConfigurationError(ServiceError):
    """A setting or a catalogue contradicts itself or cannot be used."""

    code = "configuration"


class TargetsFailed(ServiceError):
    """No query of a panel could be answered; the first decides the status."""

    code = "targets_failed"

    def __init__(self, errors: Mapping[str, ServiceError]) -> None:
        super().__init__(" ".join(f"target {ref_id}: {error.sentence}" for ref_id, error in errors.items()))
        self._first = next(iter(errors.values()))

    @property
    def root(self) -> ServiceError:
        """The error of the first query."""
        return self._first


class QueryRefused(ServiceError):
    """The upstream refuses an expression, in its own words."""

    status, code = 400, "query_refused"

    def __init__(self, error_type: str, message: str) -> None:
        # An engine may quote the whole query in its message.
        super().__init__(f"The upstream refuses the query ({error_type}): {message[:500]}")
        self.error_type = error_type


class NotServed(ServiceError):
    """The upstream does not know one of the API's paths; engines and their versions differ in these."""

    status, code = 404, "not_served"

    def __init__(self, path: str, status: int) -> None:
        super().__init__(
            f"The upstream does not serve {path} (HTTP {status}); check its version and the path in PROMETHEUS_URL."
        )


class NotOneNumber(ServiceError):
    """A statistic's expression gives several series."""

    code = "not_one_number"

    def __init__(self, series: int) -> None:
        super().__init__(f"The expression gives {series} series, a statistic is one; aggregate it in the catalogue.")


class UpstreamError(ServiceError):
    """The upstream gave no usable answer."""

    status, code = 502, "upstream_failed"


class Unreachable(UpstreamError):
    """No connection: refused, no such host, no route."""

    code = "unreachable"

    def __init__(self, host: str) -> None:
        super().__init__(f"The upstream at {host} cannot be reached; check PROMETHEUS_URL and that it runs.")


class TlsFailed(UpstreamError):
    """The connection stands, the handshake does not."""

    code = "tls"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"The TLS handshake with the upstream at {host} failed; check https in PROMETHEUS_URL "
            "and PROMETHEUS_CA_FILE."
        )


class TimedOut(UpstreamError):
    """The whole answer did not arrive in time."""

    status, code = 504, "timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The upstream did not answer within {seconds:g} s; PROMETHEUS_TIMEOUT sets the limit.")


class ConnectionLost(UpstreamError):
    """The connection broke before the answer was whole; what had arrived is thrown away."""

    code = "connection_lost"

    def __init__(self, host: str) -> None:
        super().__init__(f"The upstream at {host} broke the connection before its answer was whole.")


class PoolExhausted(UpstreamError):
    """All connections to the upstream are busy."""

    status, code = 503, "busy"

    def __init__(self) -> None:
        super().__init__("All connections to the upstream are busy; ask again in a moment.")


class Redirected(UpstreamError):
    """The upstream points elsewhere; we do not follow."""

    code = "redirect"

    def __init__(self, status: int) -> None:
        super().__init__(
            f"The upstream answers with a redirect ({status}), which is not followed; "
            "set PROMETHEUS_URL to its final address."
        )


class AccessRefused(UpstreamError):
    """The upstream does not accept our credentials."""

    code = "upstream_auth"

    def __init__(self, status: int) -> None:
        super().__init__(
            f"The upstream refuses our credentials ({status}); check PROMETHEUS_BEARER_TOKEN, "
            "PROMETHEUS_HEADERS or the user in PROMETHEUS_URL."
        )


class RateLimited(UpstreamError):
    """The upstream asks for a pause."""

    status, code = 503, "rate_limited"

    def __init__(self, retry_after: float | None) -> None:
        pause = f"{retry_after:g} s" if retry_after is not None else "a moment"
        super().__init__(f"The upstream limits our rate (429); it asks for a pause of {pause}.")
        self.retry_after = retry_after


class UpstreamFailed(UpstreamError):
    """The upstream answers with an error status of its own."""

    def __init__(self, status: int) -> None:
        super().__init__(
            f"The upstream answers with HTTP {status}; check its log"
            + (" and the path in PROMETHEUS_URL." if status == 404 else ".")
        )


class BadAnswer(UpstreamError):
    """A 200 whose body is not what the protocol says."""

    code = "bad_response"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The upstream's answer is not the Prometheus API's ({why}); does PROMETHEUS_URL name a Prometheus?"
        )


class AnswerTooLarge(UpstreamError):
    """The answer is larger than we are willing to hold."""

    code = "too_large"
    limit = "max_response_bytes"

    def __init__(self, allowed: int) -> None:
        super().__init__(
            f"The upstream's answer is larger than {allowed:,} bytes; narrow SELECTOR or raise MAX_RESPONSE_BYTES."
        )
        self.allowed = allowed


class Misconfigured(UpstreamError):
    """This service was set up with values that cannot work, so it asks nobody."""

    code = "misconfigured"


class CircuitOpen(UpstreamError):
    """The upstream failed so often that it gets a pause; nothing was sent."""

    status, code = 503, "suspended"

    def __init__(self, cause: UpstreamError, seconds: float) -> None:
        super().__init__(f"{cause.sentence} The next attempt is in {max(seconds, 0.1):.1f} s.")
        self.cause = cause
