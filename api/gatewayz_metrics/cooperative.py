"""Long CPU work on the event loop, interrupted often enough that other requests are not held up."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

# Seconds; bounds how long one request keeps the event loop from all others, provided that its pieces are small.
_PIECE_SECONDS = 0.02

T = TypeVar("T")


def yield_periodically() -> Callable[[], Awaitable[None]]:
    """An async function to call between pieces of work: it lets other tasks run when it has been long enough.

    pause = yield_periodically()
    for item in items:
        ...
        await pause()
    """
    since = time.monotonic()

    async def pause() -> None:
        nonlocal since
        if time.monotonic() - since > _PIECE_SECONDS:
            await asyncio.sleep(0)
            since = time.monotonic()

    return pause


async def run_cooperatively(work: Generator[None, None, T]) -> T:
    """The return value of a generator that yields after each piece of work; other tasks run in between."""
    pause = yield_periodically()
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        await pause()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Switches the cyclic garbage collector off during the block.

    Decoding creates thousands of objects without cycles; the collector would walk over them again and again
    and free nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
