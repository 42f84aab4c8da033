"""Errors of the demo.

DemoError
├── EngineUnavailable   no binary could be found or fetched
│   └── FetchFailed     one way of fetching failed; the next one is tried
├── EngineFailed        a binary started and did not do its work
├── DiskFull            there is no room for binaries or samples
└── Abandoned           the demo ended meanwhile
"""

import errno
from typing import Self


class DemoError(RuntimeError):
    """Base of all errors here; the message is a sentence for the terminal and names the remedy."""


class EngineUnavailable(DemoError):
    """No binary of an engine could be found or fetched."""


class FetchFailed(EngineUnavailable):
    """One source of binaries failed: the packages or the release archive."""


class EngineFailed(DemoError):
    """An engine did not start, did not become ready or refused its input."""


class DiskFull(DemoError):
    """There is no room for the binaries, or for the history that is written."""

    def __init__(self) -> None:
        """Says what to do."""
        super().__init__(
            "The disk is full: Prometheus and its history take 1 GB in the cache folder while they are written, and a "
            "tenth of it afterwards; make room, or set XDG_CACHE_HOME to another place."
        )

    @classmethod
    def behind(cls, error: Exception) -> Self | None:
        """This error where a full disk is behind another one, whoever met it: this process, dpkg or promtool."""
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        return cls() if is_full or "no space left on device" in str(error).lower() else None


class Abandoned(DemoError):
    """What was under way was broken off because the demo ended."""

    def __init__(self) -> None:
        """Says so."""
        super().__init__("The demo has ended meanwhile.")
