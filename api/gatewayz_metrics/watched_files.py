"""Files with secrets and certificates, read again when their content has changed.

The content decides, not the modification time: a mounted secret is replaced by a link, and copies keep old times.
Reading happens in a thread, so a slow disk delays no request. A value in use stays so while the files cannot be
read, are empty, half written or do not fit together.
"""

import asyncio
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.logs import printable

log = logging.getLogger(__name__)

# Seconds between two looks.
INTERVAL = 5.0
# Seconds for which a new content must stay the same: a file may be seen while it is being written.
_SETTLING = 0.2
_LARGEST = 2**20

# The contents by the names of the settings.
Contents = Mapping[str, bytes]
# Makes something of the contents, in a thread, and returns what puts it in use, in the event loop. Raises ValueError
# with a sentence that quotes nothing.
Prepare = Callable[[Contents], Callable[[], None]]


class WatchedFiles:
    """Files that make one value together, each under the name of its setting."""

    def __init__(self, files: Mapping[str, Path | None], prepare: Prepare) -> None:
        """Files that are None are not configured."""
        self._files = {setting: path for setting, path in files.items() if path is not None}
        self._prepare = prepare
        self._used: Contents | None = None
        self._told = ""

    def __bool__(self) -> bool:
        """Whether there is any file."""
        return bool(self._files)

    def __str__(self) -> str:
        return " and ".join(f"{setting} {path}" for setting, path in self._files.items())

    def load(self) -> None:
        """Read the files for the first time and use what they say. Raises ConfigurationError."""
        if not self._files:
            return
        try:
            contents = self._read()
            use = self._prepare(contents)
        except ValueError as exc:
            self._told = str(exc)
            raise ConfigurationError(self._told) from None
        self._accept(contents, use)

    def look(self) -> Callable[[], None]:
        """Read the files, in a thread; the result is to be called in the event loop."""
        try:
            contents = self._read()
            if contents == self._used:
                return partial(self._tell, "")
            time.sleep(_SETTLING)
            if self._read() != contents:
                return lambda: None
            return partial(self._renew, contents, self._prepare(contents))
        except ValueError as exc:
            return partial(self._tell, str(exc))

    def _renew(self, contents: Contents, use: Callable[[], None]) -> None:
        self._accept(contents, use)
        log.info("%s changed; the new content is used from now on.", " and ".join(self._files))

    def _accept(self, contents: Contents, use: Callable[[], None]) -> None:
        use()
        self._used = contents
        self._told = ""

    def _tell(self, fault: str) -> None:
        """Log a fault once, until it is over or another one."""
        if fault and fault != self._told:
            kept = "What was read before stays in use." if self._used is not None else "It is tried again."
            log.error("%s %s", printable(fault), kept)
        self._told = fault

    def _read(self) -> Contents:
        """The contents of all files. Raises ValueError when one cannot be read or is empty."""
        return {setting: _read_file(setting, path) for setting, path in self._files.items()}


def _read_file(setting: str, path: Path) -> bytes:
    try:
        # Without waiting: whoever opens a FIFO waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError(f"{setting} {path} cannot be read (it is no regular file).")
            content = file.read(_LARGEST + 1)
    except OSError as exc:
        raise ValueError(f"{setting} {path} cannot be read ({exc.strerror or type(exc).__name__}).") from None
    if not content.strip():
        raise ValueError(f"{setting} {path} is empty.")
    if len(content) > _LARGEST:
        raise ValueError(f"{setting} {path} has more than {_LARGEST:,} bytes.")
    return content


class FileWatcher:
    """Looks at files every INTERVAL seconds, and at once when asked, until it is closed or its event loop ends."""

    def __init__(self, watched: Sequence[WatchedFiles]) -> None:
        """Must be made in an event loop."""
        self._watched = [files for files in watched if files]
        self._asked = asyncio.Event()
        self._task = asyncio.create_task(self._run()) if self._watched else None

    def reload(self) -> None:
        """Look at once."""
        self._asked.set()

    async def look(self) -> None:
        """Look now, and use what is new."""
        for take in await _in_daemon_thread(lambda: [files.look() for files in self._watched]):
            take()

    async def aclose(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            # A task of another loop has ended with it.
            with suppress(asyncio.CancelledError, RuntimeError):
                await self._task

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), INTERVAL)
            self._asked.clear()
            try:
                await self.look()
            except Exception as exc:  # the next look may succeed
                log.error("Looking at the files failed: %s", printable(f"{type(exc).__name__}: {exc}"))


async def _in_daemon_thread(work: Callable[[], list[Callable[[], None]]]) -> list[Callable[[], None]]:
    """Run something in a thread that keeps no process from ending, as those of an executor do."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Callable[[], None]]] = loop.create_future()

    def settle(found: list[Callable[[], None]] | None, exc: Exception | None) -> None:
        if done.done():
            return
        if exc is not None:
            done.set_exception(exc)
        else:
            done.set_result(found or [])

    def run() -> None:
        found, fault = None, None
        try:
            found = work()
        except Exception as exc:  # handed to whoever waits
            fault = exc
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, found, fault)

    Thread(target=run, name="gatewayz-metrics-files", daemon=True).start()
    return await done
