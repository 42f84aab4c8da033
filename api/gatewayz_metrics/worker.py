"""A worker of `gatewayz-metrics serve --workers`: the service once more, in a process that a supervisor has begun."""

import asyncio
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Any

from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.event_loop import new_event_loop
from gatewayz_metrics.logs import configure_logging
from gatewayz_metrics.main import create_app
from gatewayz_metrics.measurements import Measurements
from gatewayz_metrics.server.channel import Channel, ChannelSilent, receive_first
from gatewayz_metrics.server.serve import LAST_WAIT, serve
from gatewayz_metrics.server.worker_process import Orders
from gatewayz_metrics.service import ServiceProvider
from gatewayz_metrics.siblings import SiblingsSilent

# What runs a worker; its supervisor adds two descriptors.
COMMAND = (sys.executable, "-P", "-m", __name__)

# Seconds between two reports of what was measured: what a worker loses that is killed.
_REPORT_INTERVAL = 1.0
# Seconds for the supervisor to ask everybody.
_PATIENCE = 10.0
# Seconds beyond SHUTDOWN_TIMEOUT for a worker without a supervisor, should its event loop hang.
_GRACE = 3.0


class Worker:
    """The service in this process, with a channel to its supervisor, and by it to the other workers."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._channel = Channel(self._hear, self._answer)
        self._app = create_app(orders.settings, siblings=self, announces=orders.announces)
        self._services: ServiceProvider = self._app.state.services
        self._succeeded = asyncio.Event()
        self._told: Measurements = {}

    async def run(self, connection: socket.socket, listener: socket.socket) -> None:
        """Serve until a signal or the supervisor ends it."""
        await self._channel.open(connection)
        talking = asyncio.create_task(self._channel.run())
        reporting: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal reporting
            reporting = asyncio.create_task(self._report())

        try:
            await serve(
                self._app,
                self._orders.settings,
                listener,
                on_listening=begin,
                on_hangup=self._services.reload,
                succeeded=self._succeeded,
            )
        except ConfigurationError as exc:
            self._tell("refused", exc.sentence)
            raise
        finally:
            if reporting is not None:
                reporting.cancel()
                self._tell_measurements()
            await self._channel.aclose()
            talking.cancel()

    # ------------------------------------------------------------------ to the other workers

    async def measure(self, own: Measurements) -> Sequence[Measurements]:
        """What all workers have measured. Raises SiblingsSilent."""
        try:
            self._channel.tell("measured", own)
            found: Sequence[Measurements] = await self._channel.ask("measure", patience=_PATIENCE)
        except ChannelSilent:
            raise SiblingsSilent("could be asked what it measures") from None
        return found

    async def purge(self) -> int:
        """Have the others forget what they keep. Raises SiblingsSilent."""
        with suppress(ChannelSilent):
            size: int | None = await self._channel.ask("purge", patience=_PATIENCE)
            if size is not None:
                return size
        raise SiblingsSilent("has forgotten what it kept")

    # ------------------------------------------------------------------ to the supervisor

    async def _report(self) -> None:
        """Say that requests are answered, and from now on what is measured."""
        # The state of the upstream is one of all workers, so a new one looks before it counts.
        await self._services.get().check_upstream()
        self._tell_measurements()
        self._tell("ready")
        while True:
            await asyncio.sleep(_REPORT_INTERVAL)
            self._tell_measurements()

    def _tell_measurements(self) -> None:
        found = self._services.telemetry.measure()
        if found != self._told:
            self._told = found
            self._tell("measured", found)

    def _tell(self, kind: str, content: Any = None) -> None:
        with suppress(ChannelSilent):
            self._channel.tell(kind, content)

    async def _answer(self, kind: str) -> int | None:
        if kind == "purge":
            return self._services.get().purge()
        # Told, as everything that is measured: in this order, so that no count ever goes back.
        self._tell_measurements()
        return None

    def _hear(self, kind: str, _content: Any) -> None:
        if kind == "leave":
            self._succeeded.set()


def end_with(connection: socket.socket, seconds: float) -> None:
    """End this process when its supervisor is gone: as at SIGTERM, and after some seconds however it is."""

    def watch() -> None:
        gone = select.poll()
        # The end of the other side is always told; what arrives is not for this thread.
        gone.register(connection.fileno(), 0)
        gone.poll()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
        os._exit(1)

    Thread(target=watch, name="gatewayz-metrics-supervisor", daemon=True).start()


def main(connection: socket.socket, listener: socket.socket) -> int:
    """Do what the supervisor orders; the exit code."""
    try:
        orders: Orders = receive_first(connection)
    except EOFError:
        return 1
    settings = orders.settings
    end_with(connection.dup(), settings.shutdown_timeout + LAST_WAIT + _GRACE)
    configure_logging(settings.log_format, settings.log_level, worker=orders.name)

    async def work() -> None:
        await Worker(orders).run(connection, listener)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(work())
        except ConfigurationError:  # the supervisor says it
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*(socket.socket(fileno=int(number)) for number in sys.argv[1:3])))
