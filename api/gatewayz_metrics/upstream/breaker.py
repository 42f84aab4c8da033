"""The circuit breaker: requests fail at once while the upstream is down, instead of after a timeout each.

Only what can mean that the upstream is down is counted, and before it opens a question of our own decides
(`UpstreamClient` asks it). What concerns one caller alone, its rate or its rights, suspends that caller alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from gatewayz_metrics.errors import (
    AccessRefused,
    CircuitOpen,
    ConnectionLost,
    RateLimited,
    TimedOut,
    TlsFailed,
    Unreachable,
    UpstreamError,
    UpstreamFailed,
)

# Failures in a row: a single failed or slow query does not stop all others.
FAILURES = 5
# Seconds; bounds how long an upstream that works again goes unnoticed.
PAUSE = 5.0
# Seconds; bounds a pause that the upstream asks for by Retry-After.
_LONGEST_PAUSE = 60.0
# Callers that are remembered; beyond, whoever failed longest ago is forgotten.
_MOST_CALLERS = 1000


def may_be_outage(error: UpstreamError) -> bool:
    """Whether an error can mean that the upstream is down: no connection, a broken one, silence, a bare 5xx.

    A query that is too slow for its deadline looks the same as an upstream that hangs. An error in the protocol's
    words, any 4xx and whatever is wrong with an answer's size or form come from an upstream that runs.
    """
    match error:
        case Unreachable() | TlsFailed() | ConnectionLost():
            return True
        case TimedOut():
            return not error.by_upstream
        case UpstreamFailed():
            return error.answered >= 500 and not error.in_words
        case _:
            return False


class CircuitBreaker:
    """Asks for a decision after FAILURES failures in a row; once open, it lets one request through after PAUSE.

    The clock is in monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._cause: UpstreamError | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether it was opened and no request has succeeded since."""
        return self._cause is not None

    @property
    def cause(self) -> UpstreamError | None:
        """Why it is open."""
        return self._cause

    def refuse_if_open(self) -> None:
        """Raise CircuitOpen during the pause."""
        if self._cause is not None and (remaining := self._open_until - self._clock()) > 0:
            raise CircuitOpen(self._cause, remaining)

    def check(self) -> None:
        """Raise CircuitOpen while it is open; the first caller after the pause becomes the probe."""
        self.refuse_if_open()
        if self._cause is not None:
            # Others are refused while the probe runs. A probe whose caller disconnects reports nothing; after another
            # pause the next one follows.
            self._open_until = self._clock() + PAUSE
            self._is_probing = True

    def succeeded(self) -> None:
        """Record an answer of the upstream, a refused query included; closes the circuit."""
        self._failures, self._cause = 0, None

    def failed(self) -> bool:
        """Record a failure; whether it is one too many, so that it should be opened (again)."""
        self._failures += 1
        return self._is_probing if self.is_open else self._failures >= FAILURES

    def open(self, error: UpstreamError, seconds: float = PAUSE) -> None:
        """Refuse everything for some seconds, because of an error."""
        self._cause = error
        self._open_until = self._clock() + seconds
        self._is_probing = False


@dataclass
class CallerPauses:
    """Pauses of single callers: the upstream limits their rate (429) or refuses them (401, 403).

    A rate limit with a Retry-After counts at once, for that time; the others after FAILURES in a row.
    """

    clock: Callable[[], float]
    _breakers: OrderedDict[Hashable, CircuitBreaker] = field(default_factory=OrderedDict)

    def check(self, caller: Hashable) -> None:
        """Raise CircuitOpen while the caller is suspended."""
        if found := self._breakers.get(caller):
            found.check()

    def succeeded(self, caller: Hashable) -> None:
        """Forget what was remembered of a caller."""
        self._breakers.pop(caller, None)

    def failed(self, caller: Hashable, error: UpstreamError) -> None:
        """Remember an error that concerns the caller alone."""
        if not isinstance(error, RateLimited | AccessRefused):
            return
        breaker = self._breakers.setdefault(caller, CircuitBreaker(self.clock))
        self._breakers.move_to_end(caller)
        if len(self._breakers) > _MOST_CALLERS:
            self._breakers.popitem(last=False)
        too_many = breaker.failed()
        if isinstance(error, RateLimited) and error.retry_after:
            breaker.open(error, min(error.retry_after, _LONGEST_PAUSE))
        elif too_many:
            breaker.open(error)
