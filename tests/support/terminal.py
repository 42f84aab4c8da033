"""A command in a terminal of its own: what a person sees, and what Ctrl-C does."""

import os
import pty
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.waiting import wait_until


class Terminal:
    """One process with a terminal as its standard streams."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor
        self._seen = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """Everything that was written so far, with its control sequences."""
        return self._seen.decode("utf-8", "replace")

    def wait_for(self, text: str) -> None:
        """Wait until some text has been written."""
        wait_until(lambda: text in self.text or not self._reader.is_alive())
        assert text in self.text, self.text

    def press_ctrl_c(self) -> None:
        os.write(self._descriptor, b"\x03")

    def wait(self) -> int:
        """The exit code of the process, once it has ended."""
        # The terminal closes when the last process that has it ends.
        wait_until(lambda: not self._reader.is_alive())
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def last_line(self) -> str:
        """What the cursor's line holds at the end, without control sequences."""
        return self.text.splitlines()[-1].rpartition("\x1b[2K")[2].removeprefix("^C")

    def end(self) -> None:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._reader.join()
        os.close(self._descriptor)

    def _read(self) -> None:
        # EIO is the end of a terminal.
        with suppress(OSError):
            while data := os.read(self._descriptor, 65536):
                self._seen += data


@contextmanager
def terminal(
    command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Terminal]:
    """A command in a terminal of a hundred columns; it is killed at the end of the block if it still runs."""
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"} | dict(environment or {})
    for name in ("NO_COLOR", "CI", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        env.pop(name, None)
    pid, descriptor = pty.fork()
    if pid == 0:
        # Who runs the tests in the background has SIGINT ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if cwd:
            os.chdir(cwd)
        os.execvpe(command[0], list(command), env)  # noqa: S606  # the command of a test
    found = Terminal(pid, descriptor)
    try:
        yield found
    finally:
        found.end()
