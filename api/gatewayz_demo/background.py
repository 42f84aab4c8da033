"""Weeks of history before what a demo begins with, written while it runs: coarser the older, at low priority.

`Background` is what the demo knows of it; `python -m gatewayz_demo.background JSON` is the child that writes it.
"""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from gatewayz_demo import history, processes
from gatewayz_demo.counters import STEP
from gatewayz_demo.engines import Engine
from gatewayz_demo.errors import EngineFailed
from gatewayz_demo.simulator import Simulator, Volume
from gatewayz_demo.work import Work

DAYS = 30
HOUR, DAY = 3600.0, 86_400.0
# Rows that are held in memory at once.
ROWS = 600
# Long blocks: promtool reads the whole text once for each.
LONGEST_BLOCK = "162h"
# What it writes is needed by nobody within the first seconds.
NICENESS = 19
# The parts from the newest on: length, interval, and how often there is an incident, in seconds. The last repeats.
_LENGTHS = ((4 * HOUR, 30.0, 2 * HOUR), (18 * HOUR, 60.0, 4 * HOUR), (6 * DAY, 300.0, DAY))


@dataclass(frozen=True)
class Part:
    """A piece of history with one interval, from a start to before an end (Unix seconds): the gateway ran through it.

    An incident lies within every `incident_every` seconds.
    """

    since: float
    until: float
    interval: float
    incident_every: float
    is_sparing: bool = False


def plan(until: float, days: float = DAYS) -> list[Part]:
    """The parts before a time, the newest first.

    The intervals follow from what reads them. Boards of six hours ask for rates over a minute or so, boards of a day
    for two minutes. Whatever asks for more asks for rates over five minutes and longer; a sample must be no older than
    five minutes to be seen at all.
    """
    # Samples are on multiples of their interval, so that every window of a step has as many. No gap is left at the end:
    # what looks for restarts looks at two minutes.
    end = math.floor(until / 30) * 30.0
    base = math.floor(until / 300) * 300.0
    oldest = base - math.ceil(days * DAY / 300) * 300.0
    parts: list[Part] = []
    while end > oldest:
        length, interval, incident_every = _LENGTHS[min(len(parts), len(_LENGTHS) - 1)]
        since = max(oldest, (base if not parts else end) - length)
        # Nobody looks for percentiles of weeks ago, and histograms are most of all series.
        parts.append(Part(since, end, interval, incident_every, is_sparing=interval == 300))
        end = since
    return parts


@dataclass(frozen=True)
class Background:
    """What a child is told: where the data folder and promtool are, and what ends where the newer history begins.

    `until` is in Unix seconds.
    """

    folder: str
    until: float
    seed: int
    spec_families: bool
    promtool: str
    promtool_env: Mapping[str, str]
    days: float = DAYS
    niceness: int = NICENESS

    @classmethod
    def of(
        cls,
        folder: Path,
        until: float,
        simulator: Simulator,
        promtool: Engine,
        *,
        days: float = DAYS,
        niceness: int = NICENESS,
    ) -> Self:
        """The history before that of a simulator."""
        seed, shape, env = simulator.seed, simulator.spec_families, dict(promtool.env)
        return cls(str(folder), until, seed, shape, str(promtool.path), env, days, niceness)

    @property
    def parts(self) -> Sequence[Part]:
        """Every part, the newest first."""
        return plan(self.until, self.days)

    @property
    def missing(self) -> list[Part]:
        """The parts that the data folder has not got yet."""
        try:
            reached = float(self._mark.read_text("ascii"))
        except (OSError, ValueError):
            reached = math.inf
        return [part for part in self.parts if part.since < reached]

    def write(self, work: Work) -> None:
        """Writes what is missing in a child, which ends with the work. Raises EngineFailed or Abandoned."""
        with work.scratch(Path(self.folder).parent) as scratch:
            command = [sys.executable, "-m", "gatewayz_demo.background", json.dumps(asdict(self)), str(scratch)]
            done = work.run(command)
        if done.returncode:
            reason = " ".join(done.stderr.split())[-600:]
            raise EngineFailed(f"The history of {self.days:g} days could not be written: {reason}")

    def write_here(self, scratch: Path) -> None:
        """Writes what is missing in this process, part by part."""
        for part in self.missing:
            for number, samples in enumerate(self._write_part(part, scratch)):
                print(f"{part.interval:g} s: {samples:,} samples in file {number}")  # noqa: T201  # for whoever runs it alone
            self._mark.write_text(repr(part.since), "ascii")

    def _write_part(self, part: Part, scratch: Path) -> Iterator[int]:
        simulator = Simulator(
            seed=self.seed,
            epoch=part.since,
            spec_families=self.spec_families,
            stride=round(part.interval / STEP),
            incident_every=part.incident_every,
            volume=self._volume,
        )
        promtool = Engine("promtool", Path(self.promtool), self.promtool_env)
        text = scratch / "part.om"
        start = part.since
        while start < part.until:
            end = min(part.until, start + ROWS * part.interval)
            with text.open("w", encoding="utf-8") as file:
                last = end - part.interval
                yield history.write_history(
                    file, simulator, since=start, until=last, interval=part.interval, is_sparing=part.is_sparing
                )
            processes.backfill(text, Path(self.folder), promtool=promtool, longest_block=LONGEST_BLOCK)
            start = end

    @property
    def _volume(self) -> Volume:
        """More each day, less at night and at weekends, and as now at the end."""

        def volume(time: float) -> float:
            days = (self.until - time) / DAY
            weekend = 0.75 if int(days) % 7 in (3, 4) else 1.0
            return weekend * (1 - 0.012 * days) * (1 - 0.3 * math.sin(math.tau * days))

        return volume

    @property
    def _mark(self) -> Path:
        """Holds the start of the oldest part that is written."""
        return Path(self.folder, "background")


def main() -> None:
    """Writes what the arguments tell: a Background as JSON, and a folder for files in between."""
    told = Background(**json.loads(sys.argv[1]))
    os.nice(told.niceness)
    told.write_here(Path(sys.argv[2]))


if __name__ == "__main__":
    main()
