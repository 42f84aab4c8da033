"""Several worker processes that serve as one: begun, watched, replaced and ended by a process that serves nothing.

Each worker has an event loop, caches and upstream connections of its own, a socket that it accepts on, and its share
of the limits. What must be true of all of them, their metrics and a purge, goes through here.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.logs import printable
from gatewayz_metrics.measurements import Measurements, merge_measurements, without_gauges
from gatewayz_metrics.server.listeners import Listeners
from gatewayz_metrics.server.shares import DIVIDED, divide
from gatewayz_metrics.server.signals import handle_signals
from gatewayz_metrics.server.worker_process import Orders, WorkerProcess
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.telemetry import Telemetry

log = logging.getLogger(__name__)

# Seconds that a worker is waited for when another wants a page of metrics, before what it last told counts.
_PAGE_PATIENCE = 0.5
# Seconds for a worker to purge its caches.
_PURGE_PATIENCE = 5.0
# A worker that served for so many seconds is replaced at once; before, each end in a row doubles the pause.
_HEALTHY = 10.0
_LONGEST_PAUSE = 30.0


class Supervisor:
    """The workers of one service."""

    def __init__(self, settings: Settings, listeners: Listeners, command: Sequence[str]) -> None:
        """`command` runs a worker (see WorkerProcess). Raises ConfigurationError when limits cannot be divided."""
        self._settings = settings
        self._shares = divide(settings)
        self._listeners = listeners
        self._command = command
        self._gauges = Telemetry().gauges
        self._workers: set[WorkerProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # What workers had counted that have ended.
        self._ended: Measurements = {}
        # How often in a row the worker of a number ended soon.
        self._failures = [0] * settings.workers
        self._stop = asyncio.Event()
        self._restarting = True  # or starting, which is no time for it either

    async def run(self, *, on_listening: Callable[[], None], read: Callable[[], Settings]) -> None:
        """Serve until SIGTERM or SIGINT; `on_listening` is called once all workers answer.

        SIGHUP has them read their files again, SIGUSR2 replaces them one after another with what `read` gives.
        Raises ConfigurationError when a worker cannot start.
        """
        actions = {
            "SIGTERM": self._end,
            "SIGINT": self._end,
            "SIGHUP": self._reload,
            "SIGUSR2": lambda: self._begin(self._restart(read)),
        }
        with handle_signals(actions):
            try:
                await self._start_all()
                self._restarting = False
                if not self._stop.is_set():
                    self._announce()
                    on_listening()
                await self._stop.wait()
            finally:
                self._stop.set()
                self._listeners.close()
                await self._end_all()

    # ------------------------------------------------------------------ beginning and ending

    async def _start_all(self) -> None:
        numbers = range(self._settings.workers)
        first = [self._launch(number, announces=number == 0, is_trial=True) for number in numbers]
        ready = asyncio.gather(*(worker.wait_until_ready() for worker in first))
        stopped = asyncio.create_task(self._stop.wait())
        either: list[asyncio.Future[Any]] = [ready, stopped]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
        finally:
            for waiting in either:
                waiting.cancel()
            await asyncio.gather(*either, return_exceptions=True)

    def _announce(self) -> None:
        share = self._shares[-1]
        told = ", ".join(f"{name.upper()} {getattr(share, name):,}" for name in DIVIDED)
        log.info("%d workers serve, each with its share of the limits: %s.", self._settings.workers, told)

    def _launch(self, number: int, *, announces: bool = False, is_trial: bool = False) -> WorkerProcess:
        orders = Orders(number, self._shares[number], announces=announces)
        worker = WorkerProcess(orders, self._answer, is_trial=is_trial)
        self._workers.add(worker)
        self._begin(self._tend(worker))
        return worker

    async def _tend(self, worker: WorkerProcess) -> None:
        """Run a worker to its end, and another in its place unless the end was wanted."""
        await worker.run(self._command, lambda: self._listeners.get(worker.number))
        self._workers.discard(worker)
        counted = without_gauges(worker.measurements, self._gauges)
        self._ended = merge_measurements([self._ended, counted], self._gauges)
        if worker.is_missed and not self._stop.is_set():
            await self._replace(worker)

    async def _replace(self, worker: WorkerProcess) -> None:
        number = worker.number
        self._failures[number] = 0 if worker.served > _HEALTHY else self._failures[number] + 1
        failures = self._failures[number]
        pause = min(2.0 ** (failures - 2), _LONGEST_PAUSE) if failures > 1 else 0.0
        when = f"in {pause:g} s" if pause else "now"
        log.error("%s Another takes its place %s.", worker.describe_end(), when)
        if pause:
            self._listeners.withdraw(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
        # While the workers were replaced on purpose it may have got a successor.
        if not self._stop.is_set() and not self._find(number):
            self._launch(number)

    def _end(self) -> None:
        """End all workers; a second time it breaks off what is under way."""
        self._stop.set()
        for worker in self._workers:
            worker.terminate()

    async def _end_all(self) -> None:
        for worker in self._workers:
            if not worker.is_dismissed:
                worker.terminate()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ while they serve

    def _reload(self) -> None:
        for worker in self._workers:
            if worker.is_ready:
                worker.reload()

    async def _restart(self, read: Callable[[], Settings]) -> None:
        """Replace the workers one after another: the next is there before the one before goes."""
        if self._restarting:
            log.warning("SIGUSR2: the workers are being replaced already.")
            return
        self._restarting = True
        before = self._settings
        try:
            self._take(read())
            log.info("SIGUSR2: the workers are replaced one after another.")
            for number in range(before.workers):
                await self._succeed(number)
                if self._stop.is_set():
                    return
            log.info("All workers are replaced.")
        except ConfigurationError as exc:
            self._take(before)
            if not self._stop.is_set():
                log.error("Workers are left as they are, as their settings cannot be used: %s", printable(exc.sentence))
        finally:
            self._restarting = False

    def _take(self, settings: Settings) -> None:
        """Settings for the workers that are begun from now on; the sockets and the number of workers stay."""
        own = {name: getattr(self._settings, name) for name in ("host", "port", "workers")}
        settings = settings.model_copy(update=own)
        self._shares = divide(settings)
        self._settings = settings

    async def _succeed(self, number: int) -> None:
        """Begin another worker of a number, and end the one before. Raises ConfigurationError if it cannot start."""
        successor = self._launch(number, is_trial=True)
        await successor.wait_until_ready()
        await asyncio.gather(*(worker.leave() for worker in self._find(number) if worker is not successor))

    def _find(self, number: int) -> list[WorkerProcess]:
        """The workers of a number that were not told to end: one as a rule."""
        return [worker for worker in self._workers if worker.number == number and not worker.is_dismissed]

    async def _answer(self, worker: WorkerProcess, kind: str) -> Any:
        """What a worker asks of all workers."""
        others = [other for other in self._workers if other.is_ready and other is not worker]
        return await (self._purge(others) if kind == "purge" else self._measure(others))

    async def _measure(self, others: Sequence[WorkerProcess]) -> list[Measurements]:
        """What all workers have measured, each once, and those that have ended.

        All of it has been told to this process, so that nothing that was ever shown is forgotten with a worker.
        """
        await asyncio.gather(*(worker.measure(_PAGE_PATIENCE) for worker in others))
        living = sorted(self._workers, key=lambda each: each.number)
        return [*(worker.measurements for worker in living), self._ended]

    async def _purge(self, others: Sequence[WorkerProcess]) -> int | None:
        """The bytes that the points of the others took; None when one of them said nothing."""
        sizes = await asyncio.gather(*(worker.purge(_PURGE_PATIENCE) for worker in others))
        return None if None in sizes else sum(size or 0 for size in sizes)
