"""One worker, as its supervisor sees it: a process of its own, told what to do over a pair of sockets."""

import asyncio
import os
import signal
import socket
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.measurements import Measurements
from gatewayz_metrics.server.channel import Channel, ChannelSilent, send_first
from gatewayz_metrics.server.serve import DRAIN, LAST_WAIT
from gatewayz_metrics.settings import Settings

# Seconds until a worker has to answer its first request.
_START = 60.0
# Seconds beyond all that a worker is given to end, before it is killed.
_GRACE = 3.0


@dataclass(frozen=True)
class Orders:
    """What a worker is begun with."""

    number: int
    # With its share of what is divided.
    settings: Settings
    # Whether it logs what is served; one of them does.
    announces: bool

    @property
    def name(self) -> str:
        """As log lines have it, from 1."""
        return str(self.number + 1)


class WorkerProcess:
    """A worker from its beginning to its end."""

    def __init__(
        self, orders: Orders, answer: Callable[["WorkerProcess", str], Awaitable[Any]], *, is_trial: bool
    ) -> None:
        """`answer` is what the worker asks of its supervisor.

        Nobody takes the place of a worker on trial that does not start: what was there before stays, or nothing.
        """
        self.number = orders.number
        # What it last told.
        self.measurements: Measurements = {}
        # Why it cannot serve, in a sentence.
        self.refusal = ""
        self.is_ready = False
        # It was told to end.
        self.is_dismissed = False
        self._is_trial = is_trial
        self._orders = orders
        self._channel = Channel(self._hear, lambda kind: answer(self, kind))
        self._process: Process | None = None
        self._ready_since = 0.0
        self._changed = asyncio.Event()
        self._is_over = asyncio.Event()

    @property
    def served(self) -> float:
        """Seconds for which it has served."""
        return time.monotonic() - self._ready_since if self.is_ready else 0.0

    @property
    def is_missed(self) -> bool:
        """Whether another is to take its place, once it has ended."""
        return not self.is_dismissed and (self.is_ready or not self._is_trial)

    async def run(self, command: Sequence[str], find_listener: Callable[[], socket.socket]) -> None:
        """Run the process and talk with it until it has ended.

        The command gets two more words: the descriptors of its end of the sockets and of the listening socket.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                descriptors = (theirs.fileno(), find_listener().fileno())
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    *map(str, descriptors),
                    pass_fds=descriptors,
                    stdin=asyncio.subprocess.DEVNULL,
                    # Ctrl-C is for the supervisor, which says once to each what to do.
                    start_new_session=True,
                )
            await self._talk(self._process, ours)
        except (ConfigurationError, OSError) as exc:
            self.refusal = str(exc)
        finally:
            self._is_over.set()
            self._changed.set()
            ours.close()

    async def _talk(self, process: Process, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        late = loop.call_later(_START, self._kill_unless_ready)
        try:
            if self.is_dismissed:
                self._kill()
            with suppress(OSError):  # it has ended by now
                send_first(ours, self._orders)
                await self._channel.open(ours)
                await self._channel.run()
            await process.wait()
        finally:
            late.cancel()
            self._kill()

    async def wait_until_ready(self) -> None:
        """Return when it answers requests. Raises ConfigurationError when it has ended instead."""
        while not self.is_ready:
            if self._is_over.is_set():
                raise ConfigurationError(self.refusal or f"{self.describe_end()} Its own lines say why.")
            await self._changed.wait()
            self._changed.clear()

    def describe_end(self) -> str:
        """How it ended, in a sentence."""
        code = None if self._process is None else self._process.returncode
        who = f"Worker {self._orders.name}" + ("" if self._process is None else f" (process {self._process.pid})")
        if self.refusal:
            return f"{who} cannot serve: {self.refusal}"
        if code is not None and code < 0:
            return f"{who} was ended by {signal.Signals(-code).name}."
        return f"{who} ended by itself with exit code {code}."

    # ------------------------------------------------------------------ what it is told

    def terminate(self) -> None:
        """Have it end as at SIGTERM; it is killed when it takes much longer than SHUTDOWN_TIMEOUT."""
        self._dismiss(self._orders.settings.shutdown_timeout)
        self._signal(signal.SIGTERM)

    async def leave(self) -> None:
        """Have it end without a failed request, as another accepts in its place, and wait for that."""
        self._dismiss(DRAIN + self._orders.settings.shutdown_timeout)
        with suppress(ChannelSilent):
            self._channel.tell("leave")
        await self._is_over.wait()

    def reload(self) -> None:
        """Have it read its files again."""
        self._signal(signal.SIGHUP)

    async def measure(self, patience: float) -> None:
        """Have it tell what it has measured; without an answer in time what it last told counts."""
        with suppress(ChannelSilent):
            await self._channel.ask("measure", patience=patience)

    async def purge(self, patience: float) -> int | None:
        """Have it forget what it keeps; the bytes of points, or None when it does not say."""
        try:
            size: int = await self._channel.ask("purge", patience=patience)
        except ChannelSilent:
            # One that has ended keeps nothing.
            return 0 if self._is_over.is_set() else None
        return size

    def _dismiss(self, seconds: float) -> None:
        if not self.is_dismissed:
            self.is_dismissed = True
            asyncio.get_running_loop().call_later(seconds + LAST_WAIT + _GRACE, self._kill)

    def _signal(self, number: int) -> None:
        # Of a process that has ended the number may be another's by now.
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _kill_unless_ready(self) -> None:
        if not self.is_ready:
            self.refusal = f"it was not ready within {_START:g} s."
            self._kill()

    # ------------------------------------------------------------------ what it tells

    def _hear(self, kind: str, content: Any) -> None:
        match kind:
            case "ready":
                self.is_ready = True
                self._ready_since = time.monotonic()
                self._changed.set()
            case "refused":
                self.refusal = content
            case "measured":
                self.measurements = content
