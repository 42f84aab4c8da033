"""An application on a real port, in a thread of this process."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI


def listening() -> socket.socket:
    """A bound socket on a free loopback port."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.bind(("127.0.0.1", 0))
    return found


def address(found: socket.socket) -> str:
    """The host and port of a bound socket."""
    return f"127.0.0.1:{found.getsockname()[1]}"


@contextmanager
def running(app: FastAPI, on: socket.socket, **config: Any) -> Iterator[str]:
    """The URL of an application that answers until the block ends."""
    config = {"ws": "none", "log_config": None, "access_log": False, "timeout_graceful_shutdown": 5, **config}
    server = uvicorn.Server(uvicorn.Config(app, **config))
    thread = threading.Thread(target=server.run, args=([on],))
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        assert server.started, "the application did not start"
        yield f"http://{address(on)}"
    finally:
        server.should_exit = True
        thread.join()
        on.close()
