"""What the rooms above need of an upstream."""

from typing import Protocol

from gatewayz_metrics.errors import ConfigurationError, Misconfigured
from gatewayz_metrics.upstream.answer import Vector
from gatewayz_metrics.upstream.call import Call, RawAnswer


class Instants(Protocol):
    """Something that answers instant queries."""

    async def instant(self, query: str, time: float | None = None) -> Vector:
        """The vector of an expression at a Unix time (seconds), or now."""


class Source(Instants, Protocol):
    """Something that answers for a Prometheus-compatible server."""

    async def forward(self, call: Call) -> RawAnswer:
        """The envelope of a call, as it is."""

    async def aclose(self) -> None:
        """Let go of every connection."""


class Unusable:
    """Stands in for an upstream whose settings cannot work, and says so to whoever asks.

    A host application must not die of our settings; its routes explain themselves instead.
    """

    def __init__(self, cause: ConfigurationError) -> None:
        self._sentence = cause.sentence

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002
        """Raise Misconfigured with the sentence that a stand-alone start would have stopped with."""
        raise Misconfigured(self._sentence)

    async def forward(self, call: Call) -> RawAnswer:  # noqa: ARG002
        """Raise Misconfigured, too."""
        raise Misconfigured(self._sentence)

    async def aclose(self) -> None:
        """Nothing is open."""
