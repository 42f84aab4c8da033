"""What happens to the upstream: it freezes, is killed, is ended in good order, and comes back."""

import asyncio
import os
import random
import signal
from collections import Counter

from gatewayz_demo.processes import EngineProcess


async def make_trouble(engine: EngineProcess, stop: asyncio.Event) -> Counter[str]:
    """One trouble after the other, with calm between them, until `stop` is set; how often each happened."""
    happened: Counter[str] = Counter()
    try:
        while not await _wait(stop, random.uniform(8, 30)):  # noqa: S311  # no secret
            trouble = random.choice(("frozen", "killed", "ended"))  # noqa: S311
            happened[trouble] += 1
            if trouble == "frozen":
                await _freeze(engine, stop)
            else:
                await asyncio.to_thread(engine.kill if trouble == "killed" else engine.stop)
                await _wait(stop, random.uniform(0.5, 10))  # noqa: S311
                await asyncio.to_thread(engine.start)
    finally:
        await asyncio.to_thread(engine.start)
    return happened


async def _freeze(engine: EngineProcess, stop: asyncio.Event) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        await _wait(stop, random.uniform(1, 20))  # noqa: S311  # no secret
    finally:
        os.kill(engine.pid, signal.SIGCONT)


async def _wait(stop: asyncio.Event, seconds: float) -> bool:
    """Whether `stop` was set before the time was over."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
