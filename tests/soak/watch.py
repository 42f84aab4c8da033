"""Memory, descriptors and processor time of a process over the campaign."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from statistics import median

from tests.support.usage import memory, processor_seconds


@dataclass(frozen=True)
class Measurement:
    """One look at the process."""

    at: float
    bytes: int
    descriptors: int


@dataclass
class ProcessWatch:
    """Looks at a process every two seconds."""

    pid: int
    seen: list[Measurement] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set."""
        while not stop.is_set():
            self.seen.append(self.look())
            await asyncio.sleep(2)

    def look(self) -> Measurement:
        """What the process has now."""
        return Measurement(time.monotonic(), memory(self.pid, "VmRSS"), len(os.listdir(f"/proc/{self.pid}/fd")))  # noqa: PTH208

    def processor_seconds(self) -> float:
        """User and system time so far."""
        return processor_seconds(self.pid)

    def fifths(self, what: str) -> list[float]:
        """The median of `bytes` or `descriptors` in each fifth of the time."""
        values = [float(getattr(each, what)) for each in self.seen]
        size = max(1, len(values) // 5)
        return [median(values[place * size : (place + 1) * size]) for place in range(5) if values[place * size :]]

    def peak(self, what: str) -> float:
        """The most that was seen."""
        return max(float(getattr(each, what)) for each in self.seen)
