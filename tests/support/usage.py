"""What processes have used so far, as the kernel counts it."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """User and system time of a process and of those that it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / _TICKS
    return own + sum(processor_seconds(child) for child in children(pid))


def memory(pid: int, field: str) -> int:
    """Bytes in use (`VmRSS`), or in use at most (`VmHWM`)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [
        int(child)
        for thread in os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
        for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
    ]
