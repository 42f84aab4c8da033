"""What can go wrong before a demo runs.

DemoError
├── EngineUnavailable   no binary could be found or fetched
│   └── FetchFailed     one way of fetching failed; the next one is tried
└── EngineFailed        a binary ran and did not do its work
"""


class DemoError(RuntimeError):
    """A sentence for the person at the terminal, remedy included."""


class EngineUnavailable(DemoError):
    """No binary of this engine is at hand."""


class FetchFailed(EngineUnavailable):
    """One source of binaries could not deliver."""


class EngineFailed(DemoError):
    """An engine did not start, did not become ready or refused its task."""
