"""Waiting for a condition: quick where it comes soon, patient where the machine is slow."""

import asyncio
import time
from collections.abc import Callable

# So long that only what never comes is missed.
PATIENCE = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {PATIENCE:g} s"
        time.sleep(0.02)


async def reach(condition: Callable[[], bool]) -> None:
    """The same while the event loop goes on."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {PATIENCE:g} s"
        await asyncio.sleep(0.01)
