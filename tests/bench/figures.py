"""What a run found: figures, the machine, and the form in which they are kept."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.goals import GOALS, Goal


@dataclass(frozen=True)
class Figure:
    """One row: ours and the yardstick in the goal's unit, and the ratio of ours to it.

    `spread` is the least and the largest ratio of the rounds, `cpu_ms` the processor milliseconds of the service per
    request, `load_share` how much of one core the load maker used, `others` further figures of the same run.
    """

    key: str
    ours: float
    yardstick: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    cpu_ms: float | None = None
    load_share: float | None = None
    others: dict[str, float] = field(default_factory=dict)
    note: str = ""
    # False where the yardstick is another one than the goal was set against.
    is_judged: bool = True

    @property
    def goal(self) -> Goal:
        return GOALS[self.key]

    @property
    def reached(self) -> str:
        """`moonshot`, `must`, `no`, or nothing where it cannot be said."""
        value = self.ours if self.goal.is_absolute else self.ratio
        return self.goal.reached(value) if value is not None and self.is_judged else ""


def paired(key: str, ours: Sequence[float], theirs: Sequence[float], **more: Any) -> Figure:
    """A figure from rounds in which both took their turns: medians, and the median of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Figure(key, median(ours), median(theirs), median(ratios), (min(ratios), max(ratios)), **more)


@dataclass(frozen=True)
class Point:
    """One measurement of a growth: what was varied and what was found, by name."""

    x: float
    values: dict[str, float]


@dataclass(frozen=True)
class Results:
    """All of a run."""

    form: str
    facts: dict[str, str]
    figures: list[Figure]
    growth: dict[str, list[Point]]

    def to_json(self) -> str:
        """Text that `from_json` reads again; four significant digits, for more would be noise."""
        return json.dumps(_rounded(asdict(self)), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Results":
        found = json.loads(text)
        figures = [
            Figure(**row | {"spread": tuple(row["spread"]) if row["spread"] else None}) for row in found["figures"]
        ]
        growth = {name: [Point(**point) for point in points] for name, points in found["growth"].items()}
        return cls(found["form"], found["facts"], figures, growth)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def machine_facts(**more: str) -> dict[str, str]:
    """What the figures depend on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    packages = ("fastapi", "granian", "httpx", "pyreqwest", "isal", "orjson", "uvloop")
    versions = ", ".join(f"{name} {version(name)}" for name in packages if _is_installed(name))
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": cpu,
        "python": platform.python_version(),
        "packages": versions,
        **more,
    }


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except ImportError:
        return False
    return True
