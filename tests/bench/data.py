"""Deployments of a chosen size, with samples up to now and beyond, so that they last for the whole run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gatewayz_demo import processes

from tests.bench.parties import Party
from tests.support.samples import Series, deployments

# Seconds that a run takes at most, the making of the data included.
_AHEAD = 1200
# What tells the copies of a series apart; a series with none of these exists once.
_COPIED = ("provider", "model", "path", "table", "cache_name")


@dataclass(frozen=True)
class Deployment:
    """How many series about, how many seconds back, seconds between two samples."""

    series: int
    back: int
    step: int

    def write(self, folder: Path) -> int:
        """Make the data folder of an engine; the number of series."""
        now = int(time.time()) // self.step * self.step
        times = range(now - self.back, now + _AHEAD, self.step)
        lines = _write(folder.with_suffix(".om"), self.series, times)
        processes.backfill(folder.with_suffix(".om"), folder)
        folder.with_suffix(".om").unlink()
        return lines


def _write(file: Path, wanted: int, times: range) -> int:
    production = [one for one in deployments() if one.labels["env"] == "production"]
    copied = [one for one in production if any(label in one.labels for label in _COPIED)]
    copies = max(1, round((wanted - len(production) + len(copied)) / len(copied)))
    written = 0
    with file.open("w", encoding="utf-8") as lines:
        for one in sorted(production, key=lambda one: one.name):
            # The copies have the same values: what a sample costs does not depend on them.
            tails = [f" {one.curve(at - times.start)!r} {at}\n" for at in times]
            for head in _heads(one, copies):
                lines.write(head + head.join(tails))
                written += 1
        lines.write("# EOF\n")
    return written


def _heads(one: Series, copies: int) -> Iterator[str]:
    seen = set()
    for number in range(copies):
        labels = {name: f"{text}-{number}" if name in _COPIED else text for name, text in one.labels.items()}
        pairs = ",".join(f'{name}="{text}"' for name, text in labels.items())
        head = f"{one.name}{{{pairs}}}"
        if head not in seen:
            seen.add(head)
            yield head


@contextmanager
def engine(folder: Path) -> Iterator[Party]:
    """Prometheus over a data folder."""
    with processes.start_prometheus(folder, extra_flags=["--query.max-samples=200000000"]) as started:
        assert started.pid is not None
        yield Party("direct", started.url, started.pid)
