"""A deployment of a chosen size whose history ends now, as engines under measurement need it."""

import time
from pathlib import Path

from tests.support.samples import STEP, Series, deployments

_MINUTES = 12


def write_demo_data(path: Path, size: int) -> int:
    """Write the production deployment so many times over as OpenMetrics; the number of series."""
    end = int(time.time()) // STEP * STEP
    begin = end - 60 * _MINUTES
    production = [series for series in deployments() if series.labels["env"] == "production"]
    copies = [copied(one, number) for number in range(size) for one in production]
    series = {(one.name, *sorted(one.labels.items())): one for one in copies}
    with path.open("w", encoding="utf-8") as file:
        for one in sorted(series.values(), key=lambda one: one.name):
            labels = ",".join(f'{name}="{value}"' for name, value in one.labels.items())
            head = f"{one.name}{{{labels}}}"
            file.writelines(f"{head} {one.curve(at - begin)!r} {at}\n" for at in range(begin, end + STEP, STEP))
        file.write("# EOF\n")
    return len(series)


def copied(one: Series, number: int) -> Series:
    """The series once more, as of another provider, model and route."""
    changed = {
        name: f"{value}-{number}" if name in ("provider", "model", "path", "table", "cache_name") else value
        for name, value in one.labels.items()
    }
    return Series(one.name, changed, one.curve)
