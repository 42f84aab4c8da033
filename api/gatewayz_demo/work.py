"""Work under way that must not outlive the demo: child processes, and the folders that they or threads write into.

A thread cannot be ended from outside. What it has begun can: its children are killed, its folders removed, and it gets
no new ones.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Self

from gatewayz_demo.errors import Abandoned

# Kills its process group when its standard input closes, which happens however this process ends, by SIGKILL too.
# PR_SET_PDEATHSIG is no alternative: it follows the thread that started the child, not the process.
GUARD = ["/bin/sh", "-c", "read -r _; kill -KILL 0"]
# How often a folder that does not get empty is tried, and the seconds in between.
_ATTEMPTS, _PAUSE = 50, 0.01


def start_guard() -> subprocess.Popen[bytes]:
    """The leader of a new process group that ends with this process, for children to join."""
    # Ctrl-C in a terminal does not reach the group, so that its children are ended in good order.
    return subprocess.Popen(GUARD, stdin=subprocess.PIPE, process_group=0)  # noqa: S603  # a constant


class Work:
    """Children and folders of one demo. As a context manager it abandons at the end what is still under way."""

    def __init__(self) -> None:
        """Nothing is under way yet."""
        self._lock = Lock()
        self._guards: set[subprocess.Popen[bytes]] = set()
        self._folders: set[Path] = set()
        self._is_abandoned = False

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, as subprocess.run does. Raises Abandoned when it was not allowed to finish."""
        with self._guarded() as guard:
            try:
                child = subprocess.Popen(  # noqa: S603  # the caller's own command
                    command,
                    env=env,
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    process_group=guard.pid,
                )
            except OSError:
                # Its group has ended meanwhile.
                self._check()
                raise
            try:
                stdout, stderr = child.communicate(timeout=timeout)
            except BaseException:
                # With all that it has started: what holds its output open would keep us waiting.
                _end(guard)
                child.communicate()
                raise
        self._check()
        return subprocess.CompletedProcess(child.args, child.returncode, stdout, stderr)

    @contextmanager
    def scratch(self, parent: Path, prefix: str = "scratch-") -> Iterator[Path]:
        """A new folder in another one, removed at the end."""
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        try:
            with self.unfinished(folder):
                yield folder
        finally:
            _remove(folder)

    @contextmanager
    def unfinished(self, folder: Path) -> Iterator[None]:
        """During the block the folder is of no use to anybody: it is removed when the work is abandoned."""
        with self._lock:
            self._check()
            self._folders.add(folder)
        try:
            yield
        finally:
            with self._lock:
                self._folders.discard(folder)

    def abandon(self) -> None:
        """Kills every child and removes every unfinished folder; from now on nothing begins."""
        with self._lock:
            self._is_abandoned = True
            for guard in self._guards:
                _end(guard)
            for folder in self._folders:
                _remove(folder)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Abandons what is under way."""
        self.abandon()

    def _check(self) -> None:
        if self._is_abandoned:
            raise Abandoned

    @contextmanager
    def _guarded(self) -> Iterator[subprocess.Popen[bytes]]:
        with self._lock:
            self._check()
            guard = start_guard()
            self._guards.add(guard)
        try:
            yield guard
        finally:
            with self._lock:
                self._guards.discard(guard)
                _end(guard)


def _end(guard: subprocess.Popen[bytes]) -> None:
    """Ends the guard and what is left of its group; it does no harm to do so twice."""
    guard.communicate()


def _remove(folder: Path) -> None:
    """Removes a folder, also while a thread or a dying process still adds to it."""
    for _ in range(_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_PAUSE)
