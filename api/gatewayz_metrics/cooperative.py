"""Long CPU work on the event loop, interrupted often enough that other requests are not held up."""

import asyncio
import gc
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import Any, TypeVar

# Seconds; bounds how long one request keeps the event loop from all others, provided that its pieces are small. Several
# such requests take turns, and an answer takes a few of them.
PIECE_SECONDS = 0.002
# Items that are sorted at once, which takes a millisecond, and how many of them are looked at to part them anew.
_RUN = 1000
_SEEN = 16

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
        if time.monotonic() - since > PIECE_SECONDS:
            await asyncio.sleep(0)
            since = time.monotonic()

    return pause


def sort_in_runs(items: Sequence[T], key: Callable[[T], Any] = lambda item: item) -> Generator[None, None, list[T]]:
    """The items in the order that `sorted` gives; yields after pieces of the work, so that it can run cooperatively."""
    runs: list[list[T]] = []
    for begin in range(0, len(items), _RUN):
        runs.append(sorted(items[begin : begin + _RUN], key=key))
        yield
    if all(key(left[-1]) <= key(right[0]) for left, right in pairwise(runs)):
        return list(chain.from_iterable(runs))
    merged: list[T] = []
    begins = [0] * len(runs)
    for border in _borders(runs, key):
        # Equal items all stand behind the border, in the order of their runs: the whole stays stable, as `sorted` is.
        ends = [bisect_left(run, border, begin, key=key) for run, begin in zip(runs, begins, strict=True)]
        merged += _merge(runs, begins, ends, key)
        begins = ends
        yield
    return merged + _merge(runs, begins, [len(run) for run in runs], key)


def _borders(runs: Sequence[Sequence[T]], key: Callable[[T], Any]) -> list[Any]:
    """Keys that part the items of sorted runs into about as many pieces as there are runs, all of about their size."""
    seen = sorted(key(item) for run in runs for item in run[:: max(1, _RUN // _SEEN)])
    return seen[_SEEN::_SEEN]


def _merge(runs: Sequence[list[T]], begins: Sequence[int], ends: Sequence[int], key: Callable[[T], Any]) -> list[T]:
    pieces = (run[begin:end] for run, begin, end in zip(runs, begins, ends, strict=True))
    return sorted(chain.from_iterable(pieces), key=key)


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
