"""Work that comes in pieces, done in one go."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def at_once(work: Generator[None, None, T]) -> T:
    """The result of work that comes in pieces."""
    return count_pieces(work)[0]


def count_pieces(work: Generator[None, None, T]) -> tuple[T, int]:
    """The result of work that comes in pieces, and how many there were."""
    pieces = 1
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result, pieces
        pieces += 1
