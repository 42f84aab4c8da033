"""`python -m tests.bench.reference (fastapi|asgi) (granian|uvicorn) PORT FILE MEDIA_TYPE`: the least for some bytes.

Under granian, as the service's own server uses it, what differs is what is done per request. Under uvicorn it is what
whoever follows FastAPI's documentation has.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvicorn
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


def serve_by_granian(app: Any, port: int) -> None:
    """Serve until the process is ended."""
    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve())


def serve_by_uvicorn(app: Any, port: int) -> None:
    """The same, with uvloop and httptools, as uvicorn chooses them where they are, and without a log of requests."""
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False, lifespan="off")


def main() -> None:
    """Serve the bytes of a file."""
    kind, server, port, file, media_type = sys.argv[1:]
    app = {"fastapi": fastapi, "asgi": asgi}[kind](Path(file).read_bytes(), media_type)
    {"granian": serve_by_granian, "uvicorn": serve_by_uvicorn}[server](app, int(port))


if __name__ == "__main__":
    main()
