"""Clients that read slowly, not at all, or are gone."""

import asyncio
import select
import socket
from contextlib import ExitStack
from types import SimpleNamespace

from fastapi import FastAPI
from gatewayz_metrics import Settings
from gatewayz_metrics.server.listener import bind_socket
from gatewayz_metrics.server.serve import serve
from gatewayz_metrics.telemetry import Telemetry
from starlette.types import Receive, Scope, Send

from tests.server.service import served
from tests.support.fake_upstream import FakeUpstream, answering
from tests.support.waiting import PATIENCE, wait_until

LABELS = b'{"status":"success","data":["%b"]}' % (b"a" * 20_000_000)
ASK = b"GET /api/v1/labels HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_a_reader_that_does_not_read_is_hung_up_on() -> None:
    """attack.md H5: readers that do not read stay connected, and keep their answers in memory."""
    with FakeUpstream(answering(LABELS)) as upstream, served(upstream.url, write_timeout=0.5) as service:
        with ExitStack() as crowd:
            connections = [crowd.enter_context(service.connect(receive_buffer=4096)) for _ in range(3)]
            for connection in connections:
                connection.sendall(ASK)
            wait_until(lambda: service.refusals("slow_reader") == len(connections))

            assert all(is_broken_off(connection) for connection in connections)
        assert service.get("/livez").status_code == 200


def is_broken_off(connection: socket.socket) -> bool:
    """Whether the other side ends a connection that nobody reads from."""
    hangup = select.poll()
    hangup.register(connection, 0)
    return bool(hangup.poll(PATIENCE * 1000))


def test_a_reader_that_reads_gets_every_byte() -> None:
    with FakeUpstream(answering(LABELS)) as upstream, served(upstream.url) as service:
        _, _, body = service.ask(ASK).partition(b"\r\n\r\n")

    assert body == LABELS


def test_a_stream_to_a_client_that_left_ends() -> None:
    """attack.md H3: what a client asked for goes on after it has left."""
    ended = asyncio.Event()

    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        finally:
            ended.set()

    app = FastAPI()
    app.state.services = SimpleNamespace(telemetry=Telemetry())
    app.mount("/stream", stream)

    async def leave(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read(1000)).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await asyncio.wait_for(ended.wait(), PATIENCE)

    asyncio.run(serve_meanwhile(app, leave))


async def serve_meanwhile(app: FastAPI, visit: object) -> None:
    """Serve an application in this loop until a visit is over."""
    settings = Settings(host="127.0.0.1", port=0)
    bound: socket.socket = bind_socket(settings)
    port = bound.getsockname()[1]
    listening = asyncio.Event()
    serving = asyncio.create_task(serve(app, settings, bound, on_listening=listening.set))
    try:
        await listening.wait()
        await visit(port)  # type: ignore[operator]  # a coroutine function of the port
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
