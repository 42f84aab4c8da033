"""What is compared: this service, and the least that FastAPI can do, each in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from fastapi import FastAPI, Response

from tests.support.server import address, listening

_BODY = b'{"timestamp":"2025-12-24T12:00:00Z","metrics":{' + b'"x":{"value":"12345.67"},' * 32 + b'"y":{}}}'

prebuilt = FastAPI(openapi_url=None)


@prebuilt.get("/bytes")
async def read_bytes() -> Response:
    """A body of the summary's size that nobody had to make."""
    return Response(_BODY, media_type="application/json")


@contextmanager
def serving(app: str, path: str, **environment: str) -> Iterator[str]:
    """The URL of an application under uvicorn, with its settings in the environment."""
    with listening() as free:
        where = address(free)
    command = [sys.executable, "-m", "uvicorn", app, "--port", where.partition(":")[2], "--no-access-log"]
    command += ["--log-level", "warning"]
    with subprocess.Popen(command, env=os.environ | environment) as process:
        try:
            wait_until_answers(f"http://{where}{path}")
            yield f"http://{where}"
        finally:
            process.terminate()


def wait_until_answers(url: str) -> None:
    """Return when a page is there; an AssertionError after 15 s."""
    deadline = time.monotonic() + 15
    with httpx.Client(trust_env=False) as client:
        while True:
            try:
                client.get(url).raise_for_status()
            except httpx.ConnectError:
                assert time.monotonic() < deadline, f"{url} does not answer"
                time.sleep(0.05)
            else:
                return
