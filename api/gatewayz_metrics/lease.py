"""For how long an answer may be given again, as the cache tells it that keeps what the answer was made of."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """What a cache says of a hit: the same question has the same answer for as long as the lease is valid.

    A lease keeps nothing alive: when its cache lets go of what it is about, it ends.
    """

    # Whether a hit now would be the very same; to be asked each time.
    is_valid: Callable[[], bool]
    # Counts the use as the cache counts its own hits.
    note_use: Callable[[], object]
    # Seconds that the answer tells as its `Age` now; None where it tells none.
    age: Callable[[], float] | None = None
