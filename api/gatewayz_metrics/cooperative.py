"""Long work in pieces, so that nobody else on the loop waits for the whole of it."""

import asyncio
import gc
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

_PIECE_SECONDS = 0.02

T = TypeVar("T")


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
def gc_paused() -> Iterator[None]:
    """No garbage collection meanwhile: thousands of new objects come and go by themselves."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


async def run_cooperatively(work: Generator[None, None, T]) -> T:
    """The result of work that comes in pieces, with others running in between."""
    breath = Breath()
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        await breath()
