"""Long work in pieces, so that nobody else on the loop waits for the whole of it."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PIECE_SECONDS = 0.02


class Breath:
    """Called between pieces of work: lets others run once enough time has passed."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def __call__(self) -> None:
        """Let others run, if it is time."""
        if time.monotonic() - self._since > _PIECE_SECONDS:
            await asyncio.sleep(0)
            self._since = time.monotonic()


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collection meanwhile: thousands of new objects come and go by themselves."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
