"""One request and its answer, with deadlines for both: what the server's `receive` and `send` become."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from gatewayz_metrics.server.connections import OpenConnections
from gatewayz_metrics.server.limits import Limits
from gatewayz_metrics.server.refusals import BodyTooSlow

SERVER_HEADER = (b"server", b"gatewayz-metrics")
# What a reader that was hung up on is counted as.
SLOW_READER = "slow_reader"

_LEFT: Message = {"type": "http.disconnect"}
_NO_BODY: Message = {"type": "http.request", "body": b"", "more_body": False}
# Bytes. Granian waits for the reader between parts and never within one.
_PART = 128 * 1024
# Bytes a second that a reader must take on average, once WRITE_TIMEOUT has passed.
_LEAST_RATE = 32 * 1024


class ReaderGone(OSError):
    """The client left, or was hung up on, before the answer was sent."""


class Exchange:
    """`receive` and `send` for the application.

    The body has one deadline. A large answer goes in parts, each with a deadline, and ends when the client has left:
    granian's `send` to a client that is gone returns at once, without an error.
    """

    __slots__ = (
        "_begun",
        "_body_due",
        "_body_over",
        "_client",
        "_connections",
        "_count",
        "_has_body",
        "_limits",
        "_loop",
        "_receive",
        "_send",
        "_sent",
        "_watcher",
        "done",
        "left",
        "started",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        has_body: bool,
        limits: Limits,
        connections: OpenConnections,
        count: Callable[[str], None],
    ) -> None:
        """`count` is told the reason of each refusal."""
        self._client: tuple[str, int | str] = scope["client"]
        self._receive = receive
        self._send = send
        self._limits = limits
        self._connections = connections
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._has_body = has_body
        self._body_due = self._loop.time() + limits.body_timeout
        self._body_over = False
        self._watcher: asyncio.Task[None] | None = None
        self._begun: float | None = None
        self._sent = 0
        self.started = self.done = self.left = False

    # ------------------------------------------------------------------ the request

    async def receive(self) -> Message:
        """The next part of the body, then `http.disconnect` once the client has left or the answer is sent.

        Raises BodyTooSlow.
        """
        if self._body_over:
            return await self._wait_for_leaving()
        if not self._has_body:
            # The server's own message is left to the watcher: one reader alone may wait there.
            self._body_over = True
            return _NO_BODY
        try:
            async with asyncio.timeout_at(self._body_due):
                message = await self._receive()
        except TimeoutError:
            self._count(BodyTooSlow.reason)
            raise BodyTooSlow(self._limits.body_timeout) from None
        self._note(message)
        return message

    @property
    def _is_body_due(self) -> bool:
        return self._has_body and not self._body_over

    def _note(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._body_over = self.left = True
        elif not message.get("more_body", False):
            self._body_over = True

    async def _wait_for_leaving(self) -> Message:
        if not (self.done or self.left):
            self._watch()
            assert self._watcher is not None  # noqa: S101  # made by the line above
            await asyncio.shield(self._watcher)
        return _LEFT

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = self._loop.create_task(self._notice_leaving())

    async def _notice_leaving(self) -> None:
        while not self.left:
            self._note(await self._receive())

    # ------------------------------------------------------------------ the answer

    async def send(self, message: Message) -> None:
        """Send a message of the answer. Raises ReaderGone."""
        if message["type"] == "http.response.start":
            await self._send(self._complete(message))
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._begun is None and not more and len(body) <= _PART:
            self.done = True
            await self._send({"type": "http.response.body", "body": bytes(body)})
            return
        await self._send_in_parts(body, more=more)

    def _complete(self, start: Message) -> Message:
        self.started = True
        headers = [*start.get("headers", ()), SERVER_HEADER]
        # The rest of a body would be taken for the next request, or be waited for without end.
        if self._connections.closing or self._is_body_due:
            headers.append((b"connection", b"close"))
        return {**start, "headers": headers}

    async def _send_in_parts(self, body: Any, *, more: bool) -> None:
        size = len(body)
        for start in range(0, size, _PART) if size else (0,):
            # Bytes: of a memoryview granian reads every element by itself.
            part = bytes(body[start : start + _PART])
            await self._send_part(part, more=more or start + _PART < size)

    async def _send_part(self, part: bytes, *, more: bool) -> None:
        if self.left:
            raise ReaderGone("The client left.")
        now = self._loop.time()
        if self._begun is None:
            self._begun = now
        elif not self._is_body_due:
            self._watch()
        if not more:
            self.done = True
        self._sent += len(part)
        timeout = self._limits.write_timeout
        due = min(now + timeout, self._begun + timeout + self._sent / _LEAST_RATE)
        try:
            async with asyncio.timeout_at(due):
                await self._send({"type": "http.response.body", "body": part, "more_body": more})
        except TimeoutError:
            self.left = True
            self._count(SLOW_READER)
            # Neither a return nor an error makes granian hang up.
            self._connections.reset_soon(self._client)
            raise ReaderGone("The reader is too slow.") from None
        # For the watcher, as `send` does not wait for anything when the client is gone.
        await asyncio.sleep(0)

    def end(self) -> None:
        """Watch no longer, and let go of the server's side.

        While anything refers to that, such as the traceback of an error, granian keeps a connection whose body was
        not read to its end.
        """
        self.done = True
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        self._receive, self._send = _receive_nothing, _send_nowhere


async def _receive_nothing() -> Message:
    return _LEFT


async def _send_nowhere(_message: Message) -> None:
    raise ReaderGone("The answer has ended.")
