"""What signals do while something runs in the event loop."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def handle_signals(actions: dict[str, Callable[[], None]]) -> Iterator[None]:
    """Call an action for each signal, until the block ends; the platform may lack some, or all."""
    loop = asyncio.get_running_loop()
    before = {}
    for name, action in actions.items():
        number = getattr(signal, name, None)
        if number is None:
            continue
        previous = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, action)
        except NotImplementedError:  # Windows: Ctrl-C cancels the main task, and `finally` does the rest
            continue
        before[number] = previous
    try:
        yield
    finally:
        for number, previous in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, previous)
