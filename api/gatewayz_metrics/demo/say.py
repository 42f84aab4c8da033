"""Progress lines: who starts something long is told what happens."""

from collections.abc import Callable

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Says nothing."""
