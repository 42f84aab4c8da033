"""The load maker: bare HTTP over sockets in a process of its own, so that it is not what is measured."""

import asyncio
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from statistics import median
from typing import Self, cast
from urllib.parse import urlsplit

import uvloop

# In a request: a number that no other request of the run has.
NUMBER = "__n__"
_LAST_CHUNK = b"0\r\n\r\n"
_PIECE = 1 << 20
_PATIENCE = 120.0


@dataclass(frozen=True)
class Ask:
    """A request to a server. One with a body is a POST of that media type."""

    server: str
    path: str
    body: str = ""
    media_type: str = "application/x-www-form-urlencoded"
    accepts: str = "identity"

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.server)
        return parts.hostname or "127.0.0.1", parts.port or 80

    def to_bytes(self, number: int) -> bytes:
        """What is sent, `NUMBER` filled in."""
        body = self.body.replace(NUMBER, str(number)).encode()
        head = f"{'POST' if body else 'GET'} {self.path.replace(NUMBER, str(number))} HTTP/1.1\r\n"
        head += f"Host: {urlsplit(self.server).netloc}\r\nAccept-Encoding: {self.accepts}\r\n"
        if body:
            head += f"Content-Type: {self.media_type}\r\nContent-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode() + body


class AnswerReader:
    """Tells where an answer ends: by its length, or by its last chunk."""

    def __init__(self) -> None:
        self.bytes = 0
        self._head = b""
        self._missing: int | None = None
        self._tail = b""

    def feed(self, data: bytes) -> bool:
        """Whether the answer is whole now. Raises AssertionError for any status but 200."""
        if not self.bytes:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return False
            assert head.startswith(b"HTTP/1.1 200"), self._head[:400]
            self.bytes = len(head) + len(end)
            length = head.lower().partition(b"content-length:")[2]
            self._missing = int(length.split(None, 1)[0]) if length else None
        self.bytes += len(data)
        if self._missing is not None:
            self._missing -= len(data)
            return self._missing <= 0
        self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
        return self._tail == _LAST_CHUNK


@dataclass(frozen=True)
class Taken:
    """What one answer took."""

    milliseconds: float
    bytes: int


@dataclass(frozen=True)
class Crowd:
    """What many callers got together; `load_share` is how much of one core the load maker used."""

    rate: float
    answers: int
    milliseconds: float  # median
    load_share: float


class LoadMaker:
    """The process that asks. What its methods return is measured over there."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._stop = context.Event()
        self._pool = ProcessPoolExecutor(1, context, _keep_event, (self._stop,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def ask_each(self, asks: Sequence[Ask]) -> list[Taken]:
        """Ask one after the other, over one open connection to each server."""
        return self._pool.submit(_ask_each, asks).result()

    def crowd(self, ask: Ask, connections: int, seconds: float) -> Crowd:
        """Ask from many connections at once; each asks again as soon as it has its answer."""
        return self._pool.submit(_crowd, ask, connections, seconds).result()

    def scheduled(self, asks: Sequence[Ask], seconds: float) -> Crowd:
        """Ask at even intervals, whatever the answers take."""
        return self._pool.submit(_scheduled, asks, seconds).result()

    @contextmanager
    def probing(self, ask: Ask) -> Iterator[list[float]]:
        """Ask again and again while the block runs; when it has ended, the list has the milliseconds of each answer."""
        self._stop.clear()
        found: list[float] = []
        asking = self._pool.submit(_probe, ask)
        try:
            yield found
        finally:
            self._stop.set()
            found += asking.result()


# ----------------------------------------------------------- in the load maker's process

_numbers = count(1_000_000)
_events: list[Event] = []


def _keep_event(stop: Event) -> None:
    _events.append(stop)


def _connect(ask: Ask) -> socket.socket:
    connection = socket.create_connection(ask.address, _PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _timed(connection: socket.socket, ask: Ask) -> Taken:
    request, reader = ask.to_bytes(next(_numbers)), AnswerReader()
    begun = time.perf_counter()
    connection.sendall(request)
    while data := connection.recv(_PIECE):
        if reader.feed(data):
            return Taken(1000 * (time.perf_counter() - begun), reader.bytes)
    raise AssertionError(f"{ask.server} closed the connection during {ask.path[:200]}")


def _ask_each(asks: Sequence[Ask]) -> list[Taken]:
    connections = {ask.server: _connect(ask) for ask in asks}
    try:
        return [_timed(connections[ask.server], ask) for ask in asks]
    finally:
        for connection in connections.values():
            connection.close()


def _probe(ask: Ask) -> list[float]:
    found = []
    with _connect(ask) as connection:
        while True:
            found.append(_timed(connection, ask).milliseconds)
            if _events[0].wait(0.001):
                return found


class _Caller(asyncio.Protocol):
    """One connection that asks again and again until a moment."""

    def __init__(self, ask: Ask, until: float, taken: list[float]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ask, self._until, self._taken = ask, until, taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one without being derived from it.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._reader = AnswerReader()
        self._begun = time.perf_counter()
        self._transport.write(self._ask.to_bytes(next(_numbers)))

    def data_received(self, data: bytes) -> None:
        try:
            whole = self._reader.feed(data)
        except AssertionError as exc:
            self._finish(exc)
            return
        if not whole:
            return
        now = time.perf_counter()
        self._taken.append(1000 * (now - self._begun))
        if now < self._until:
            self._send()
        else:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or AssertionError(f"{self._ask.server} closed a connection"))

    def _finish(self, exc: Exception | None) -> None:
        self._transport.close()
        if self.ended.done():
            return
        if exc:
            self.ended.set_exception(exc)
        else:
            self.ended.set_result(None)


def _crowd(ask: Ask, connections: int, seconds: float) -> Crowd:
    async def run() -> Crowd:
        loop = asyncio.get_running_loop()
        begun, used = time.perf_counter(), time.process_time()
        taken: list[float] = []
        async with asyncio.timeout(seconds + _PATIENCE):
            made = [
                await loop.create_connection(lambda: _Caller(ask, begun + seconds, taken), *ask.address)
                for _ in range(connections)
            ]
            await asyncio.gather(*(caller.ended for _, caller in made))
        took = time.perf_counter() - begun
        return Crowd(len(taken) / took, len(taken), median(taken), (time.process_time() - used) / took)

    return uvloop.run(run())


def _scheduled(asks: Sequence[Ask], seconds: float) -> Crowd:
    async def once(ask: Ask, at: float) -> float:
        await asyncio.sleep(at - time.perf_counter())
        taken: list[float] = []
        _, caller = await asyncio.get_running_loop().create_connection(lambda: _Caller(ask, 0, taken), *ask.address)
        await caller.ended
        return taken[0]

    async def run() -> Crowd:
        begun, used = time.perf_counter(), time.process_time()
        pause = seconds / len(asks)
        async with asyncio.timeout(seconds + _PATIENCE):
            taken = await asyncio.gather(*(once(ask, begun + pause * place) for place, ask in enumerate(asks)))
        took = time.perf_counter() - begun
        return Crowd(len(taken) / took, len(taken), median(taken), (time.process_time() - used) / took)

    return uvloop.run(run())
