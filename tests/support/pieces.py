"""Work that comes in pieces, done in one go."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

from gatewayz_metrics.cooperative import run_cooperatively

T = TypeVar("T")


def at_once(work: Generator[None, None, T]) -> T:
    """The result of work that comes in pieces."""
    return asyncio.run(run_cooperatively(work))
