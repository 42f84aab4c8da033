"""A client that goes away ends the work for it.

Servers tell an application about it by `http.disconnect` alone (https://asgi.readthedocs.io/en/latest/specs/www.html),
and nobody reads that message while a handler awaits something else. Here it is read, but only while the handler
really waits: an answer that is at hand costs no task.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from fastapi import Request, Response
from starlette.types import Message

from gatewayz_metrics.errors import ClientGone

_BODILESS = frozenset(["GET", "HEAD"])


async def answer_unless_left(handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request) -> Response:
    """The handler's response. Raises ClientGone, and cancels the handler, when the client leaves before it is there."""
    incoming = _Incoming(request)
    # Only a body is read through `incoming`: a second object for each request is not free.
    seen = request if request.method in _BODILESS else Request(request.scope, incoming.receive)
    watched = _WatchedHandler(handle(seen), incoming)
    try:
        return await watched
    except asyncio.CancelledError:
        # Whoever else cancels, such as a server that ends, still does.
        if watched.take_back_cancellation():
            raise ClientGone from None
        raise
    finally:
        watched.end()


class _Incoming:
    """The messages of a request, of which one reader alone may wait for the next."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._body_ended = False

    @property
    def is_complete(self) -> bool:
        """Whether the handler has nothing left to read."""
        if self._request.method in _BODILESS:
            headers = self._request.headers
            return "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
        return self._body_ended

    async def receive(self) -> Message:
        """The next message, for the handler; notes when the body is complete."""
        message = await self._request.receive()
        self._body_ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def wait_for_disconnect(self) -> bool:
        """Whether the client left; to be called when the body is complete."""
        message = await self._request.receive()
        if message["type"] == "http.request" and not self._body_ended:
            # The empty body of a GET, which no handler reads.
            message = await self._request.receive()
        # A server that repeats the body at once, and so never waits, says nothing about the client.
        left: bool = message["type"] == "http.disconnect"
        return left


class _WatchedHandler:
    """An awaitable that runs a handler in the same task, and watches the client from its first real wait on."""

    def __init__(self, work: Coroutine[Any, Any, Response], incoming: _Incoming) -> None:
        self._work = work
        self._incoming = incoming
        self._watcher: asyncio.Task[bool] | None = None
        self._cancelled: asyncio.Task[Any] | None = None

    def __await__(self) -> Generator[Any, Any, Response]:
        steps = self._work.__await__()
        error: BaseException | None = None
        while True:
            try:
                awaited = steps.send(None) if error is None else steps.throw(error)
            except StopIteration as done:
                response: Response = done.value
                return response
            if self._watcher is None and self._incoming.is_complete:
                self._watch()
            error = None
            try:
                yield awaited
            except BaseException as exc:  # handed on to the handler, as `yield from` does
                error = exc

    def take_back_cancellation(self) -> bool:
        """Whether the client's leaving is all that cancelled the request."""
        task, self._cancelled = self._cancelled, None
        return task is not None and task.uncancel() == 0

    def end(self) -> None:
        """Watch no longer."""
        self.take_back_cancellation()
        if self._watcher is not None:
            self._watcher.cancel()

    def _watch(self) -> None:
        task = asyncio.current_task()
        self._watcher = asyncio.create_task(self._incoming.wait_for_disconnect())
        self._watcher.add_done_callback(lambda watcher: self._leave(watcher, task))

    def _leave(self, watcher: asyncio.Task[bool], task: asyncio.Task[Any] | None) -> None:
        if watcher.cancelled() or watcher.exception() is not None or not watcher.result() or task is None:
            return
        self._cancelled = task
        task.cancel()
