"""Work over all series of an answer, some rows at a time, so that none of it holds the event loop for long."""

from collections.abc import Iterator

# Rows of which each takes about a microsecond.
SMALL_ROWS = 512
# Bytes that are copied in one go.
_BYTES = 2**19


def strides(count: int, rows: int, size: int = 0) -> Iterator[tuple[int, int]]:
    """Where each stretch of `count` rows begins and ends; `size` is the bytes of all rows where they are copied."""
    most = max(1, min(rows, count * _BYTES // size)) if size else rows
    for begin in range(0, count, most):
        yield begin, min(count, begin + most)
