"""The cache folder: where fetched engines and demo data live between runs."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gatewayz_metrics.demo.errors import EngineUnavailable


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The cache folder of this user, created when missing."""
    home = environ.get("HOME") or tempfile.gettempdir()
    path = Path(environ.get("XDG_CACHE_HOME") or Path(home, ".cache"), "gatewayz-metrics")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        why = f"The cache folder {path} cannot be created ({exc.strerror})"
        raise EngineUnavailable(f"{why}; set XDG_CACHE_HOME to a place that can be written.") from exc
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with whatever the lock file stands for; waits for others."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_or_busy(path: Path) -> Iterator[bool]:
    """Whether the lock was free; holds it if so, and never waits."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def adopt(place: Path, fill: Callable[[Path], None]) -> None:
    """Puts a folder in place whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetch-") as scratch:
        tree = Path(scratch, "tree")
        tree.mkdir()
        fill(tree)
        # A tree without its program is a leftover of another version of this code.
        shutil.rmtree(place, ignore_errors=True)
        tree.rename(place)
