"""The upstream of a service whose settings cannot work."""

from gatewayz_metrics.errors import ConfigurationError, Misconfigured, UpstreamError
from gatewayz_metrics.upstream.request import ApiRequest, ApiResponse
from gatewayz_metrics.upstream.response import Vector
from gatewayz_metrics.watched_files import WatchedFiles


class MisconfiguredUpstream:
    """Takes the place of an upstream whose settings cannot work; every request raises Misconfigured.

    It exists because wrong settings of ours must not stop a host application: the routes report them instead.
    """

    watched_files: tuple[WatchedFiles, ...] = ()

    def __init__(self, cause: ConfigurationError) -> None:
        self._sentence = cause.sentence

    async def check(self, patience: float) -> UpstreamError | None:  # noqa: ARG002
        """The sentence, as an error."""
        return Misconfigured(self._sentence)

    def watch(self) -> None:
        """Do nothing: nothing can change."""

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002
        """Raise Misconfigured with the sentence with which a stand-alone start stops."""
        raise Misconfigured(self._sentence)

    async def forward(self, call: ApiRequest) -> ApiResponse:  # noqa: ARG002
        """Raise Misconfigured, too."""
        raise Misconfigured(self._sentence)

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""
