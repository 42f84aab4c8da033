"""Questions and answers between the supervisor and a worker, over a pair of connected sockets.

A message is its length in four bytes, and a pickle: both ends are processes of ours, and nobody else has the sockets.
"""

import asyncio
import pickle
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

_LENGTH = struct.Struct(">I")

# Takes what is told, by its kind and content; in the order in which it was told.
Hearer = Callable[[str, Any], None]
# Answers a question, given by its kind; what it raises counts as silence.
Answerer = Callable[[str], Awaitable[Any]]


class ChannelSilent(Exception):
    """The other end has not answered in time, or is gone."""


class Channel:
    """One end. Both may ask; what is told needs no answer."""

    def __init__(self, hear: Hearer, answer: Answerer) -> None:
        self._hear = hear
        self._answer = answer
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asked = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, connection: socket.socket) -> None:
        """Use a socket from now on."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=connection)

    async def run(self) -> None:
        """Take messages until the other end is gone, or this one is closed."""
        assert self._reader is not None  # noqa: S101  # it is open
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                self._take(*pickle.loads(await self._reader.readexactly(length)))  # noqa: S301  # ours, as above
        await self.aclose()

    async def aclose(self) -> None:
        """Send what was told so far, and close this end."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        for answer in self._waiting.values():
            answer.cancel()

    def tell(self, kind: str, content: Any = None) -> None:
        """Send a message that needs no answer."""
        self._send(0, kind, content)

    async def ask(self, kind: str, *, patience: float) -> Any:
        """The answer to a question. Raises ChannelSilent, after so many seconds at the latest."""
        self._asked += 1
        number, answer = self._asked, asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(number, kind)
            await asyncio.wait([answer], timeout=patience)
            if answer.cancelled() or not answer.done():
                raise ChannelSilent
            return answer.result()
        finally:
            del self._waiting[number]

    def _send(self, number: int, kind: str, content: Any = None) -> None:
        if self._writer is None:
            raise ChannelSilent
        self._writer.write(_encode((number, kind, content)))

    def _take(self, number: int, kind: str, content: Any) -> None:
        if not number:
            self._hear(kind, content)
        elif kind:
            task = asyncio.create_task(self._reply(number, kind))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif (answer := self._waiting.get(number)) is not None and not answer.done():
            answer.set_result(content)

    async def _reply(self, number: int, kind: str) -> None:
        answer = await self._answer(kind)
        with suppress(ChannelSilent):
            self._send(number, "", answer)


def _encode(content: Any) -> bytes:
    body = pickle.dumps(content)
    return _LENGTH.pack(len(body)) + body


def send_first(connection: socket.socket, content: Any) -> None:
    """Send something before either end runs a channel."""
    connection.sendall(_encode(content))


def receive_first(connection: socket.socket) -> Any:
    """What was sent so. Raises EOFError when the other end is gone."""
    with connection.makefile("rb", buffering=0) as file:
        (length,) = _LENGTH.unpack(_read(file, _LENGTH.size))
        return pickle.loads(_read(file, length))  # noqa: S301  # our own process wrote it


def _read(file: Any, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = file.read(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found
