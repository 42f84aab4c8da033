"""Work that comes in pieces, done in one go."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

from gatewayz_metrics.breath import in_pieces

T = TypeVar("T")


def at_once(work: Generator[None, None, T]) -> T:
    """The result of work that comes in pieces."""
    return asyncio.run(in_pieces(work))
