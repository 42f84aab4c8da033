"""Serving an application until a signal ends it.

The server is granian's embedded one: one process, our own event loop, our own socket, lifespan and signals. Its
command and its `Granian` class run a second process and share a taken port without a word.
"""

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]  # imported there to be used from there
from granian.server.embed import Server

from gatewayz_metrics.cooperative import PIECE_SECONDS
from gatewayz_metrics.server.edge import ServerEdge
from gatewayz_metrics.server.limits import Limits
from gatewayz_metrics.server.listener import listen
from gatewayz_metrics.server.signals import handle_signals
from gatewayz_metrics.settings import Settings

log = logging.getLogger(__name__)

# Bytes for the head of a request. Each connection that is in the middle of one holds so much.
_HEAD_BUFFER = 64 * 1024
# Seconds after which another thread gets the GIL. granian takes requests in in a thread of its own, which needs it for
# each; where it is let go for a moment meanwhile, as between two pieces of work, Python counts anew. With Python's own
# 5 ms requests waited for up to 0.4 s while a large answer was made.
_SWITCH_SECONDS = PIECE_SECONDS / 4
# Descriptors for what is no client: upstream connections, files, engines.
_RESERVED_DESCRIPTORS = 256
# Seconds in which the connections of clients that ask all the time end with an answer, before idle ones are closed.
DRAIN = 2.0
# Seconds for the server to end once every connection is reset.
LAST_WAIT = 2.0
# Into our own log. Without this granian adds handlers that write to standard output.
_LOG_CONFIG = {"formatters": {}, "handlers": {}, "loggers": {"_granian": {"handlers": [], "propagate": True}}}


async def serve(
    app: FastAPI,
    settings: Settings,
    bound: socket.socket,
    *,
    on_listening: Callable[[], None],
    on_hangup: Callable[[], None] | None = None,
    succeeded: asyncio.Event | None = None,
) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; what is under way has SHUTDOWN_TIMEOUT to finish.

    `on_listening` is called once clients can connect. `on_hangup` is what SIGHUP does; without it, it ends the
    service like SIGTERM. Once another process that shares the socket has `succeeded` this one, it ends without a
    failed request. What the application's start-up raises is raised here.
    """
    # Answers to pages of other origins get their headers behind the edge. An application need not have a front.
    front = None if settings.cors_origins else getattr(app.state, "warm_front", None)
    edge = ServerEdge(app, Limits.from_settings(settings), app.state.services.telemetry, front)
    ended = asyncio.Event()
    actions = {"SIGTERM": ended.set, "SIGINT": ended.set, "SIGHUP": on_hangup or ended.set}
    port = bound.getsockname()[1]
    with bound, handle_signals(actions):
        async with app.router.lifespan_context(app):
            listen(bound)
            # What exists by now stays: a full collection that walked it again would hold the event loop for 50 ms.
            gc.collect()
            gc.freeze()
            sys.setswitchinterval(_SWITCH_SECONDS)
            server = _SocketServer(edge, bound, settings)
            serving = asyncio.create_task(server.serve())
            leaving = asyncio.create_task(_leave(edge, port, succeeded, ended)) if succeeded else None
            try:
                await asyncio.sleep(0)
                on_listening()
                await _wait_for_either(serving, ended)
                if not ended.is_set():
                    raise RuntimeError("The HTTP server ended by itself.")
            finally:
                if leaving is not None:
                    leaving.cancel()
                ended.clear()
                server.stop()  # type: ignore[no-untyped-call]
                await _wait_for_either(serving, ended, settings.shutdown_timeout)
                if not serving.done():
                    await _force_end(edge, serving, port)


class _SocketServer(Server):
    """granian's server over a socket that is bound already."""

    def __init__(self, edge: ServerEdge, bound: socket.socket, settings: Settings) -> None:
        host, port = bound.getsockname()[:2]
        super().__init__(
            edge,
            address=host,
            port=port,
            # Without lifespan: `serve` runs the application's own.
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backpressure=_count_connections(settings.max_connections),
            log_level=LogLevels.error,
            log_dictconfig=_LOG_CONFIG,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(settings.idle_timeout * 1000), max_buffer_size=_HEAD_BUFFER
            ),
        )
        self._bound = bound

    def _init_shared_socket(self) -> None:
        # granian closes the descriptor.
        self._shd: Any = SocketHolder(self._bound.detach(), False, self.backlog)  # type: ignore[call-arg]  # not in its stub


def _count_connections(wanted: int) -> int:
    """How many connections the process can have, after raising its limit of descriptors as far as needed."""
    try:
        import resource  # noqa: PLC0415  # only Unix has it
    except ImportError:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _RESERVED_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    reachable = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if reachable > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    if reachable == needed:
        return wanted
    possible = max(reachable - _RESERVED_DESCRIPTORS, reachable // 2)
    log.warning("MAX_CONNECTIONS is %d here: the process may have %d open files (ulimit -n).", possible, reachable)
    return possible


async def _leave(edge: ServerEdge, port: int, succeeded: asyncio.Event, ended: asyncio.Event) -> None:
    """Take no more connections once there is a successor, and end when those that are used have had their answers."""
    await succeeded.wait()
    await edge.connections.drain(port, DRAIN)
    ended.set()


async def _wait_for_either(serving: asyncio.Task[Any], event: asyncio.Event, seconds: float | None = None) -> None:
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({serving, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if serving.done():
        serving.result()


async def _force_end(edge: ServerEdge, serving: asyncio.Task[Any], port: int) -> None:
    """Cancel what is under way and reset every connection; granian itself would wait without end."""
    log.warning("Some requests or connections did not end in time; they are broken off.")
    edge.abort()
    edge.connections.reset_all(port)
    await asyncio.wait({serving}, timeout=LAST_WAIT)
