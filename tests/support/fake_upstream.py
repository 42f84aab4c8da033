"""An upstream of raw sockets that can do what no healthy Prometheus does.

`FakeUpstream(behaviour)` listens on a free loopback port, keeps what it receives and lets the
behaviour answer. A behaviour is a function of one exchange: it reads `exchange.request`
and writes bytes, pauses or breaks the connection.
"""

import contextlib
import gzip
import json
import re
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

_PART = re.compile(r'"_part","([^"]+)"')
_LARGEST_REQUEST = 2**20
_EXCHANGES_PER_CONNECTION = 1000


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def form(self) -> dict[str, list[str]]:
        """The parameters, wherever they stand."""
        text = self.body.decode() if self.method == "POST" else urlsplit(self.target).query
        return parse_qs(text, keep_blank_values=True)

    @property
    def query(self) -> str:
        return self.form["query"][0]

    @property
    def parts(self) -> list[str]:
        """The names that the query asks for, in order and each once."""
        return list(dict.fromkeys(_PART.findall(self.query)))

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Exchange:
    """One request and the way back to whoever sent it."""

    request: Received
    number: int
    connection: socket.socket
    stopped: threading.Event
    keep: bool = False

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.sendall(piece)

    def wait(self, seconds: float) -> bool:
        """Pause; False when the upstream is being shut down meanwhile."""
        return not self.stopped.wait(seconds)

    def reset(self) -> None:
        """Break the connection with a RST instead of an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def reply(self, body: bytes, status: str = "200 OK", **headers: str) -> None:
        """A well-formed answer on a connection that stays open."""
        self.send(head(status, len(body), **headers) + body)
        self.keep = True


Behaviour = Callable[[Exchange], None]


def head(status: str, length: int | None, **headers: str) -> bytes:
    """Status line and headers; underscores in names become hyphens."""
    headers = {"Content_Type": "application/json", **headers}
    if length is not None:
        headers["Content_Length"] = str(length)
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass
class FakeUpstream:
    """A listening socket with a thread per connection; leaving the context ends all of them."""

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[Received] = field(default_factory=list)
    listens_on: tuple[str, int] = ("127.0.0.1", 0)
    # One that listens already, in place of one of its own.
    listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in self.listens_on[0] else socket.AF_INET
        self._listener = self.listener or socket.create_server(self.listens_on, family=family, backlog=64)
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # Wakes the thread that waits in accept(); closing alone would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}"

    def _start(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        # Whatever the other side breaks off is its business.
        with contextlib.suppress(OSError), connection:
            # The tests' clients abort on purpose, so nothing here waits for ever.
            connection.settimeout(10)
            stream = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with stream:
                self._converse(stream)

    def _converse(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            for _ in range(_EXCHANGES_PER_CONNECTION):
                request = _read(connection)
                if request is None or self._stopped.is_set():
                    return
                with self._lock:
                    self.requests.append(request)
                    exchange = Exchange(request, len(self.requests), connection, self._stopped)
                self.behaviour(exchange)
                if not exchange.keep:
                    return
        finally:
            with self._lock:
                self._connections.discard(connection)


def _read(connection: socket.socket) -> Received | None:
    """The next request, or None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece or len(data) > _LARGEST_REQUEST:
            return None
        data += piece
        if data.startswith(b"\x16"):
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks no TLS.\n")
            return None
    top, _, body = data.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            return None
        body += piece
    return Received(method, target, headers, body)


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# ------------------------------------------------------------------------------ answers


def vector_body(series: Iterable[tuple[dict[str, str], str]], **envelope: object) -> bytes:
    """A success with these series."""
    result = [{"metric": labels, "value": [1_760_000_000.123, value]} for labels, value in series]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}, **envelope}).encode()


def error_body(error_type: str, error: str) -> bytes:
    """An error envelope."""
    return json.dumps({"status": "error", "errorType": error_type, "error": error}).encode()


def one_each(request: Received, value: str = "1.5", **envelope: object) -> bytes:
    """A sample per part of the joined query."""
    return vector_body((({"_part": part}, value) for part in request.parts), **envelope)


def healthy(exchange: Exchange) -> None:
    """One sample per part, always the same value."""
    exchange.reply(one_each(exchange.request))


def answering(body: bytes, status: str = "200 OK", **headers: str) -> Behaviour:
    """The same answer to everything."""
    return lambda exchange: exchange.reply(body, status, **headers)


def valued(value: str, **envelope: object) -> Behaviour:
    """One sample per part with this value."""
    return lambda exchange: exchange.reply(one_each(exchange.request, value, **envelope))


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first request meets the first behaviour, all after the last meet the last."""
    return lambda exchange: behaviours[min(exchange.number, len(behaviours)) - 1](exchange)


def when(guilty: Callable[[Received], bool], behaviour: Behaviour) -> Behaviour:
    """The behaviour for requests like that, good answers for the others."""
    return lambda exchange: (behaviour if guilty(exchange.request) else healthy)(exchange)


def asks_for(*names: str) -> Callable[[Received], bool]:
    """Whether a request's query has one of these parts."""
    return lambda request: any(name in request.parts for name in names)


REFUSAL = answering(error_body("bad_data", "parse error: a test says no"), "400 Bad Request")


# ------------------------------------------------------------------------------ misbehaviour


def hang(exchange: Exchange) -> None:
    """Takes the request and says nothing."""
    exchange.wait(10)


def drip(exchange: Exchange) -> None:
    """A good answer, a byte at a time: no read ever times out."""
    body = one_each(exchange.request)
    exchange.send(head("200 OK", len(body)))
    for byte in body:
        if not exchange.wait(0.05):
            return
        exchange.send(bytes([byte]))


def slow_head(exchange: Exchange) -> None:
    """A good answer whose head comes a byte at a time."""
    for byte in head("200 OK", 2, X_Padding="a" * 500):
        if not exchange.wait(0.05):
            return
        exchange.send(bytes([byte]))


def half_a_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Le")


def another_protocol(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nhello")


def reset_before_reply(exchange: Exchange) -> None:
    exchange.reset()


def close_before_reply(exchange: Exchange) -> None:
    """Ends the connection in good order, without an answer."""


def reset_mid_body(exchange: Exchange) -> None:
    body = one_each(exchange.request)
    exchange.send(head("200 OK", len(body)) + body[: len(body) // 2])
    exchange.wait(0.02)
    exchange.reset()


def truncated(exchange: Exchange) -> None:
    """A whole answer, but more was promised."""
    body = one_each(exchange.request)
    exchange.send(head("200 OK", len(body) + 10) + body)


def broken_chunks(exchange: Exchange) -> None:
    body = one_each(exchange.request)
    exchange.send(head("200 OK", None, Transfer_Encoding="chunked"), b"%x\r\n" % len(body), body, b"\r\nzz\r\n")


def broken_chunks_later(exchange: Exchange) -> None:
    """The client has read all that was right, and waits for more."""
    body = one_each(exchange.request)
    exchange.send(head("200 OK", None, Transfer_Encoding="chunked"), b"%x\r\n" % len(body), body, b"\r\n")
    exchange.wait(0.1)
    exchange.send(b"zz\r\n")


def half_of_the_chunks(exchange: Exchange) -> None:
    body = one_each(exchange.request)
    exchange.send(head("200 OK", None, Transfer_Encoding="chunked"), b"%x\r\n" % len(body), body, b"\r\n")


def packed_on_the_way(exchange: Exchange) -> None:
    """A coding that is none of the body's but of its transfer, and that nobody asked for."""
    packed = gzip.compress(one_each(exchange.request))
    exchange.send(head("200 OK", None, Transfer_Encoding="gzip, chunked"), b"%x\r\n" % len(packed))
    exchange.send(packed, b"\r\n0\r\n\r\n")


def endless(exchange: Exchange) -> None:
    """A stream of chunks that ends long after anybody should have stopped to listen."""
    exchange.send(head("200 OK", None, Transfer_Encoding="chunked"))
    chunk = b"%x\r\n%s\r\n" % (65536, b" " * 65536)
    for _ in range(1000):
        exchange.send(chunk)


def huge_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Huge: " + b"a" * 2**18 + b"\r\nContent-Length: 0\r\n\r\n")


def garbage(exchange: Exchange) -> None:
    exchange.send(b"\x00\x01\x02 this is not the protocol you are looking for\r\n\r\n")


def no_length(exchange: Exchange) -> None:
    exchange.send(head("200 OK", None, Content_Length="-1") + one_each(exchange.request))


def two_lengths(exchange: Exchange) -> None:
    body = one_each(exchange.request)
    exchange.send(head("200 OK", len(body), Content_length="7") + body)


def _bomb(megabytes: int) -> bytes:
    """So many megabytes of zeros as gzip: one packed megabyte, repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + block * megabytes + packer.flush()


_BOMB = _bomb(300)
_PACKED = gzip.compress(b'{"status": "success"}')


def truncated_gzip(exchange: Exchange) -> None:
    packed = gzip.compress(one_each(exchange.request))
    exchange.reply(packed[:-12], Content_Encoding="gzip")


def good_gzip(exchange: Exchange) -> None:
    exchange.reply(gzip.compress(one_each(exchange.request)), Content_Encoding="gzip")


def wrong_type(kind: str, result: object) -> Behaviour:
    """A success of another result type."""
    return answering(json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode())


gzip_bomb = answering(_BOMB, Content_Encoding="gzip")
broken_gzip = answering(_PACKED[:10] + b"\xff" * 40, Content_Encoding="gzip")
unknown_encoding = answering(b"\x0b\x02\x80{}\x03", Content_Encoding="br")
html = answering(b"<!doctype html><title>Sign in</title>", Content_Type="text/html")
invalid_json = answering(b'{"status": "success", "data": {"resultType"')
nan_literal = answering(b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,NaN]}]}}')
deep_json = answering(b"[" * 200_000)
not_utf8 = answering(b'{"status": "success", "data": "\xff\xfe"}')
lone_surrogate = answering(b'{"status": "success", "data": "\\ud800"}')
no_status = answering(b'{"data": {"resultType": "vector", "result": []}}')
no_object = answering(b"[1, 2, 3]")
no_value = answering(b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}')
endless_number = valued("1e999999999")
stranger = answering(vector_body([({"_part": "nobody.asked"}, "1")]))
no_part = answering(vector_body([({"job": "x"}, "1")]))
no_series = answering(vector_body([]))
redirect = answering(b"", "302 Found", Location="http://169.254.169.254/latest/meta-data/")
