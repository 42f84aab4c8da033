"""`python -m tests.bench.reference (fastapi|asgi) PORT FILE MEDIA_TYPE`: the least that a server can do for some bytes.

Under the service's own server and event loop, so that what differs is what is done per request.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvloop
from fastapi import FastAPI, Response
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server


def fastapi(body: bytes, media_type: str) -> FastAPI:
    """One route that answers prebuilt bytes."""
    app = FastAPI(openapi_url=None)

    @app.get("/bytes")
    async def read_bytes() -> Response:
        return Response(body, media_type=media_type)

    return app


def asgi(body: bytes, media_type: str) -> Any:
    """The same without any framework."""
    headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def main() -> None:
    """Serve until the process is ended."""
    kind, port, file, media_type = sys.argv[1:]
    app = {"fastapi": fastapi, "asgi": asgi}[kind](Path(file).read_bytes(), media_type)
    server = Server(
        app, address="127.0.0.1", port=int(port), interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve())


if __name__ == "__main__":
    main()
