"""Memory, descriptors and processor time of a process over the campaign."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median


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
        status = Path(f"/proc/{self.pid}/status").read_text()
        used = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))
        return Measurement(time.monotonic(), used, len(os.listdir(f"/proc/{self.pid}/fd")))  # noqa: PTH208

    def processor_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def fifths(self, what: str) -> list[float]:
        """The median of `bytes` or `descriptors` in each fifth of the time."""
        values = [float(getattr(each, what)) for each in self.seen]
        size = max(1, len(values) // 5)
        return [median(values[place * size : (place + 1) * size]) for place in range(5) if values[place * size :]]

    def peak(self, what: str) -> float:
        """The most that was seen."""
        return max(float(getattr(each, what)) for each in self.seen)
