"""The service with a probe in its event loop: `/_hold` tells how long the loop was held since it was asked last."""

import asyncio
import gc
import time
from typing import Any

import orjson
from gatewayz_metrics import create_app

# Seconds between two looks of the probe.
_PAUSE = 0.002

_service = create_app()
# As `gatewayz_metrics.server` does.
gc.collect()
gc.freeze()
_longest = {"wall": 0.0, "cpu": 0.0}
_tasks: set[asyncio.Task[None]] = set()


async def _probe() -> None:
    """Notes the longest time between two looks, by the clock and by what this thread computed meanwhile."""
    while True:
        wall, cpu = time.monotonic(), time.thread_time()
        await asyncio.sleep(_PAUSE)
        for name, value in (("wall", time.monotonic() - wall), ("cpu", time.thread_time() - cpu)):
            _longest[name] = max(_longest[name], value)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The service, and `/_hold`."""
    if scope.get("path") != "/_hold":
        await _service(scope, receive, send)
        return
    if not _tasks:
        _tasks.add(asyncio.create_task(_probe()))
    body = orjson.dumps(_longest)
    _longest.update(wall=0.0, cpu=0.0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
