"""One ASGI layer around the application, with what granian does not check by itself."""

import asyncio
import logging
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from gatewayz_metrics.errors import ServiceError
from gatewayz_metrics.http.front import WarmFront
from gatewayz_metrics.server.connections import OpenConnections
from gatewayz_metrics.server.exchange import SERVER_HEADER, SLOW_READER, Exchange
from gatewayz_metrics.server.limits import AddressLimiter, Limits, check_head
from gatewayz_metrics.server.refusals import REASONS, ServerFault, ServerRefusal, render_refusal
from gatewayz_metrics.telemetry import Telemetry

log = logging.getLogger(__name__)

# No limit of the server refuses them: they say what is wrong while everything else is refused.
PROBES = frozenset(["/livez", "/readyz", "/metrics"])


class ServerEdge:
    """The application behind the server's limits; refusals are counted and answered in a surface's words."""

    def __init__(self, app: ASGIApp, limits: Limits, telemetry: Telemetry, front: WarmFront | None = None) -> None:
        """What `front` can answer at once needs neither a place nor a deadline."""
        self.connections = OpenConnections()
        self._app = app
        self._limits = limits
        self._front = front
        self._addresses = AddressLimiter(limits.requests_per_address)
        self._refusals = {reason: telemetry.server_refusals.labels(reason) for reason in (*REASONS, SLOW_READER)}
        self._running: set[asyncio.Task[Any]] = set()
        self._aborted = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            has_body = check_head(scope, self._limits)
            if self._front is not None and await self._front.answer_at_once(scope, send, SERVER_HEADER):
                return
            if scope["path"] in PROBES:
                await self._run(scope, receive, send, has_body=has_body)
            else:
                with self._addresses.take_place(scope["client"][0]):
                    await self._run(scope, receive, send, has_body=has_body)
        except ServerRefusal as exc:
            self._count(exc.reason)
            await _answer(exc, scope, receive, send)

    def abort(self) -> None:
        """Cancel every request under way."""
        self._aborted = True
        for task in self._running:
            task.cancel()

    def _count(self, reason: str) -> None:
        self._refusals[reason].inc()

    async def _run(self, scope: Scope, receive: Receive, send: Send, *, has_body: bool) -> None:
        exchange = Exchange(
            scope,
            receive,
            send,
            has_body=has_body,
            limits=self._limits,
            connections=self.connections,
            count=self._count,
        )
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # the server runs each request in a task
        self._running.add(task)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not self._aborted:
                raise
        except Exception as exc:
            if not exchange.left:
                await self._answer_failure(exc, exchange, scope, receive, send)
        finally:
            self._running.discard(task)
            exchange.end()

    async def _answer_failure(
        self, exc: Exception, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """What is left to do when the application has raised an error."""
        if not isinstance(exc, ServiceError):
            log.error("A request for %r failed.", scope["path"][:100], exc_info=exc)
        if not exchange.started:
            await _answer(exc if isinstance(exc, ServiceError) else ServerFault(), scope, receive, send)
        elif not exchange.done:
            # Half an answer: only the end of the connection says so.
            self.connections.reset_soon(scope["client"])


async def _answer(error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    response = render_refusal(error, scope)
    response.raw_headers.append(SERVER_HEADER)
    await response(scope, receive, send)
