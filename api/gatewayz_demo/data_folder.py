"""The data folder of a demo: what its samples come from, and how it gets those up to now."""

import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from gatewayz_demo import fetch, history, processes, scrape
from gatewayz_demo.engines import Engine
from gatewayz_demo.fetch import Progress
from gatewayz_demo.simulator import Simulator
from gatewayz_demo.work import Work

# Seconds since the last scrape after which the history is written again instead of continued: the gap lowers
# rate(x[5m]) by its share of the five minutes.
MAX_GAP = 2 * 60.0
# Seconds since the epoch after which a run starts at a new one: every run simulates all steps since then.
MAX_AGE = 6 * 3600.0
# Counters continue over a restart only when the same code simulates the same steps: raise it with every change of the
# simulator.
SIMULATOR_VERSION = 3


@dataclass(frozen=True)
class Origin:
    """What the samples in a data folder were simulated from: epoch, version and seed, first and last scrape.

    Times are Unix seconds. Kept in the folder as `origin.json`.
    """

    epoch: float
    since: float
    scraped: float
    version: int = SIMULATOR_VERSION
    seed: int = 7
    spec_families: bool = False

    @classmethod
    def read(cls, folder: Path, *, now: float) -> Self | None:
        """The origin of a data folder; None when there is none, or it is too old or of another version."""
        try:
            origin = cls(**json.loads((folder / "origin.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        is_recent = 0 <= now - origin.epoch < MAX_AGE
        return origin if is_recent and origin.version == SIMULATOR_VERSION else None

    def write(self, folder: Path) -> None:
        """Writes it into the data folder, after everything else: a folder that has it is complete."""
        (folder / "origin.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    def create_simulator(self) -> Simulator:
        """The simulator at its epoch."""
        return Simulator(seed=self.seed, epoch=self.epoch, spec_families=self.spec_families)


@contextmanager
def lock_data_folder(folder: Path, progress: Progress) -> Iterator[Path]:
    """The data folder, kept between runs; a temporary one while another demo uses that."""
    folder.mkdir(parents=True, exist_ok=True)
    with fetch.try_lock(folder / "lock") as free:
        if free:
            yield folder / "data"
            return
        progress("Another demo is running; this one keeps its data in a temporary folder.")
        with tempfile.TemporaryDirectory(prefix="gatewayz-demo-") as scratch:
            yield Path(scratch, "data")


@dataclass(frozen=True)
class Preparation:
    """How a data folder gets `hours` of history that end now, continuing what is there where that is possible."""

    hours: float
    spec_families: bool
    promtool: Engine
    progress: Progress
    work: Work

    def prepare(self, folder: Path) -> tuple[Origin, Simulator]:
        """The origin of the folder, which then holds the samples up to now, or nearly, and the simulator as of now.

        Raises EngineFailed or Abandoned.
        """
        now = time.time()
        oldest = _align(now - self.hours * 3600)
        origin = Origin.read(folder, now=now)
        if origin and (origin.spec_families != self.spec_families or origin.since > oldest + scrape.INTERVAL):
            origin = None
        if not origin or now - origin.scraped > MAX_GAP:
            epoch = origin.epoch if origin else oldest
            new = Origin(epoch, max(epoch, oldest), now, spec_families=self.spec_families)
            return new, self._write(folder, new)
        simulator = origin.create_simulator()
        simulator.advance(now)
        self.progress(f"The history of the last run, which ended {now - origin.scraped:.0f} s ago, goes on.")
        return origin, simulator

    def _write(self, folder: Path, origin: Origin) -> Simulator:
        """The simulator as of now; the folder is emptied and gets the samples since the origin's first scrape."""
        started = time.perf_counter()
        simulator = origin.create_simulator()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with self.work.unfinished(folder), self.work.scratch(folder.parent) as scratch:
            text = scratch / "history.om"
            with text.open("w", encoding="utf-8") as file:
                samples = history.write_history(file, simulator, since=origin.since, until=origin.scraped)
            processes.backfill(text, folder, promtool=self.promtool, work=self.work)
            origin.write(folder)
        self.progress(f"{self.hours:g} h of history: {samples:,} samples in {time.perf_counter() - started:.1f} s.")
        return simulator


@contextmanager
def save_last_scrape(origin: Origin, simulator: Simulator, folder: Path) -> Iterator[None]:
    """Saves the time of the last scrape at the end, which is the last time the simulator advanced."""
    before = simulator.now
    try:
        yield
    finally:
        if simulator.now > before:
            replace(origin, scraped=simulator.now).write(folder)


def _align(time_s: float) -> float:
    """The last multiple of the scrape interval.

    With the epoch and the start of the history on it, every scrape that is written falls on the end of a step.
    """
    return math.floor(time_s / scrape.INTERVAL) * scrape.INTERVAL
