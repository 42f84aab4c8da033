"""A pause for an upstream that keeps failing, so that callers do not wait for it in vain."""

from collections.abc import Callable

from gatewayz_metrics.errors import CircuitOpen, RateLimited, UpstreamError

FAILURES = 5
PAUSE = 5.0


class CircuitBreaker:
    """Opens after five failures in a row, lets one probe through after five seconds.

    Only failures of the upstream itself count: refused queries do not, and callers that
    go away do not. A rate limit opens it at once, for as long as the upstream asks.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._cause: UpstreamError | None = None

    def check(self) -> None:
        """Raise Suspended while the pause lasts; the first caller after it becomes the probe."""
        if self._cause is None:
            return
        left = self._open_until - self._clock()
        if left > 0:
            raise CircuitOpen(self._cause, left)
        # Whoever comes while the probe is under way is still turned away.
        self._open_until = self._clock() + PAUSE

    def succeeded(self) -> None:
        """A usable answer, or a refusal in the protocol's words: the upstream lives."""
        self._failures, self._cause = 0, None

    def failed(self, error: UpstreamError) -> None:
        """One more failure."""
        self._failures += 1
        if isinstance(error, RateLimited) and error.retry_after:
            self._pause(error, min(error.retry_after, 60.0))
        elif self._failures >= FAILURES:
            self._pause(error, PAUSE)

    def _pause(self, error: UpstreamError, seconds: float) -> None:
        self._cause = error
        self._open_until = self._clock() + seconds
