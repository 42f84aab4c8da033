"""The circuit breaker: requests fail at once while the upstream does, instead of after a timeout each."""

from collections.abc import Callable

from gatewayz_metrics.errors import CircuitOpen, RateLimited, UpstreamError

# Failures in a row: a single failed or slow query does not stop all others.
FAILURES = 5
# Seconds; bounds how long an upstream that works again goes unnoticed.
PAUSE = 5.0
# Seconds; bounds a pause that the upstream asks for by Retry-After.
_LONGEST_PAUSE = 60.0


class CircuitBreaker:
    """Opens after FAILURES failures in a row and lets one request through after PAUSE as a probe.

    Only failures of the upstream count: refused queries do not, nor do callers that disconnect.
    A rate limit with a Retry-After opens it at once, for that time. The clock is in monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._cause: UpstreamError | None = None

    def check(self) -> None:
        """Raise CircuitOpen while it is open; the first caller after the pause becomes the probe."""
        if self._cause is None:
            return
        remaining = self._open_until - self._clock()
        if remaining > 0:
            raise CircuitOpen(self._cause, remaining)
        # Others are refused while the probe runs. A probe whose caller disconnects reports nothing; after another
        # pause the next one follows.
        self._open_until = self._clock() + PAUSE

    def succeeded(self) -> None:
        """Record an answer of the upstream, a refused query included; closes the circuit."""
        self._failures, self._cause = 0, None

    def failed(self, error: UpstreamError) -> None:
        """Record a failure; opens the circuit when it is one too many."""
        self._failures += 1
        if isinstance(error, RateLimited) and error.retry_after:
            self._open(error, min(error.retry_after, _LONGEST_PAUSE))
        elif self._failures >= FAILURES:
            self._open(error, PAUSE)

    def _open(self, error: UpstreamError, seconds: float) -> None:
        self._cause = error
        self._open_until = self._clock() + seconds
