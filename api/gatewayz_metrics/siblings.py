"""The worker processes that serve together with this one, as far as an answer has to know of them."""

from collections.abc import Sequence
from typing import Protocol

from gatewayz_metrics.errors import ServiceError
from gatewayz_metrics.measurements import Measurements


class SiblingsSilent(ServiceError):
    """Some of the other workers were not reached, so the answer would be a part of the truth."""

    status, code = 503, "workers_silent"
    retry_after = 1.0

    def __init__(self, what: str) -> None:
        super().__init__(f"Not every worker process {what}; ask again in a moment.")


class Siblings(Protocol):
    """The other workers."""

    async def measure(self, own: Measurements) -> Sequence[Measurements]:
        """What all workers have measured, this one and those that have ended included. Raises SiblingsSilent."""

    async def purge(self) -> int:
        """Have the others forget what they keep; the bytes that their points took. Raises SiblingsSilent."""
