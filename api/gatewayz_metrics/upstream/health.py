"""What is known of the upstream: the circuit breaker, our own questions, and what logs and metrics say of both."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gatewayz_metrics.errors import AnswerTooLarge, MemoryFull, Misconfigured, ServiceError, UpstreamError
from gatewayz_metrics.logs import printable
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.breaker import PAUSE, CircuitBreaker, may_be_outage

log = logging.getLogger(__name__)

# Seconds without any answer after which our own question tells whether the upstream still answers.
IDLE_SECONDS = 10.0
# Seconds between two of our own questions at least, however often somebody asks how it is.
_PROBE_PAUSE = 1.0


class NotYetKnown(UpstreamError):
    """Nothing was asked so far, or nothing came back."""

    status, code = 503, "not_yet_known"

    def __init__(self) -> None:
        super().__init__("The upstream has not answered yet.")


class UpstreamHealth:
    """The state of the upstream; `breaker` refuses requests while it is down.

    `ask` sends the cheapest question there is, within a deadline of its own, and raises ServiceError.
    """

    def __init__(self, telemetry: Telemetry, ask: Callable[[], Awaitable[None]]) -> None:
        self.breaker = CircuitBreaker(time.monotonic)
        self._telemetry = telemetry
        self._ask = ask
        self._probe: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._probed_at = self._heard_at = float("-inf")
        self._failure: UpstreamError | None = NotYetKnown()
        # Whether something failed since the last success; logged once per outage, not once per request.
        self._is_troubled = False

    @property
    def failure(self) -> UpstreamError | None:
        """What is wrong: the cause of the open circuit, or what our last own question met; None while it answers."""
        return self.breaker.cause or self._failure

    async def check(self, patience: float) -> UpstreamError | None:
        """What is wrong as last known, after at most some seconds in which our own question may tell more."""
        is_doubtful = self._is_troubled or self.failure is not None
        if is_doubtful and time.monotonic() - self._probed_at > _PROBE_PAUSE:
            self._start_probe()
        if self._probe is not None and not self._probe.done():
            await asyncio.wait([self._probe], timeout=patience)
        return self.failure

    def watch(self) -> None:
        """Ask from now on whenever nothing else was asked for IDLE_SECONDS, in the running event loop."""
        self._heard_at = time.monotonic()
        self._watch = asyncio.create_task(self._ask_while_idle())

    async def aclose(self) -> None:
        """Ask no more."""
        for task in (self._probe, self._watch):
            if task is not None:
                task.cancel()
                # A task of another loop has ended with it.
                with suppress(asyncio.CancelledError, RuntimeError):
                    await task

    def record_success(self) -> None:
        """The upstream answered, a refused query included."""
        if self._is_troubled:
            log.warning("The upstream answers again.")
            self._is_troubled = False
        self._failure = None
        self._heard_at = time.monotonic()
        self.breaker.succeeded()
        self._telemetry.upstream_up.set(1)
        self._telemetry.upstream_last_success.set_to_current_time()

    def record_failure(self, error: UpstreamError) -> None:
        """A request failed."""
        self._heard_at = time.monotonic()
        if isinstance(error, AnswerTooLarge | MemoryFull):
            # Not usable, but the upstream answers smaller queries, or fewer at once.
            self._close_circuit()
            return
        self._note_trouble(error)
        if not may_be_outage(error):
            if not isinstance(error, Misconfigured):  # nothing was sent
                self._close_circuit()
        elif self.breaker.failed():
            self._start_probe(error)

    def _note_trouble(self, error: UpstreamError) -> None:
        if not self._is_troubled:
            log.error("The upstream gives no usable answer: %s", printable(error.sentence))
            self._is_troubled = True

    def _close_circuit(self) -> None:
        """The upstream answered, if not usably."""
        if self.breaker.is_open:
            self._telemetry.upstream_up.set(1)
        self.breaker.succeeded()

    def _start_probe(self, suspicion: UpstreamError | None = None) -> None:
        if self._probe is None or self._probe.done():
            self._probed_at = time.monotonic()
            self._probe = asyncio.create_task(self._decide(suspicion))

    async def _decide(self, suspicion: UpstreamError | None) -> None:
        """Open or close the circuit by a question of our own.

        It opens because of a suspicion that the question confirms, or of a second question that fails in a row.
        """
        outcome = "cancelled"
        try:
            await self._ask()
            outcome = "ok"
            self._end_doubt()
        except UpstreamError as exc:
            outcome = exc.code
            cause = suspicion or (self._failure and exc)
            self._failure = exc
            self._note_trouble(exc)
            if not may_be_outage(exc):
                if not isinstance(exc, Misconfigured):
                    self._close_circuit()
            elif cause is not None and (suspicion or may_be_outage(cause)):
                self.breaker.open(cause)
                self._telemetry.upstream_up.set(0)
        except ServiceError as exc:  # a refusal is an answer, too
            outcome = exc.code
            self._end_doubt()
        except Exception as exc:
            # Nobody awaits this task, so a defect of ours would be seen at the end alone, and break it.
            outcome = "internal"
            log.error("Asking the upstream failed by a defect: %s", printable(f"{type(exc).__name__}: {exc}"))
        finally:
            self._telemetry.upstream_requests.labels("probe", outcome).inc()

    def _end_doubt(self) -> None:
        """Our own question was answered, which does not say that callers' questions are."""
        if self.breaker.is_open or self._failure is not None:
            self.record_success()
        else:
            self._close_circuit()

    async def _ask_while_idle(self) -> None:
        while True:
            pause = PAUSE if self.breaker.is_open else IDLE_SECONDS
            left = self._heard_at + pause - time.monotonic()
            if left > 0:
                await asyncio.sleep(left)
                continue
            self._heard_at = time.monotonic()
            self._start_probe()
