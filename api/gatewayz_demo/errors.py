"""Errors of the demo.

DemoError
├── EngineUnavailable   no binary could be found or fetched
│   └── FetchFailed     one way of fetching failed; the next one is tried
├── EngineFailed        a binary started and did not do its work
└── Abandoned           the demo ended meanwhile
"""


class DemoError(RuntimeError):
    """Base of all errors here; the message is a sentence for the terminal and names the remedy."""


class EngineUnavailable(DemoError):
    """No binary of an engine could be found or fetched."""


class FetchFailed(EngineUnavailable):
    """One source of binaries failed: the packages or the release archive."""


class EngineFailed(DemoError):
    """An engine did not start, did not become ready or refused its input."""


class Abandoned(DemoError):
    """What was under way was broken off because the demo ended."""

    def __init__(self) -> None:
        """Says so."""
        super().__init__("The demo has ended meanwhile.")
