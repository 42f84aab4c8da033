"""Authentication at the upstream: none, basic (RFC 7617) or a bearer token (RFC 6750)."""

from base64 import b64encode
from collections.abc import Callable
from functools import partial

from gatewayz_metrics.engines import HEADER_VALUE
from gatewayz_metrics.errors import ConfigurationError, Misconfigured
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.watched_files import Contents, WatchedFiles

_SETTING = "PROMETHEUS_BEARER_TOKEN_FILE"


class UpstreamAuth:
    """The Authorization header of every upstream request.

    `file` is the token file: without a usable token at the start nothing is sent, later the last one stays.
    """

    def __init__(self, settings: Settings) -> None:
        self._header = ""
        self._fault = ""
        self.file = WatchedFiles({_SETTING: settings.prometheus_bearer_token_file}, self._prepare)
        # Settings allow only one of the three, so the order decides nothing.
        if settings.prometheus_username:
            password = settings.prometheus_password.get_secret_value()
            self._header = "Basic " + b64encode(f"{settings.prometheus_username}:{password}".encode()).decode()
        elif token := settings.prometheus_bearer_token.get_secret_value():
            self._header = f"Bearer {token}"
        try:
            self.file.load()
        except ConfigurationError as exc:
            # It may come later: Kubernetes projects tokens while the service starts.
            self._fault = exc.sentence

    def headers(self) -> dict[str, str]:
        """The headers for a request that is sent now. Raises Misconfigured while no token was ever read."""
        if self._fault:
            raise Misconfigured(self._fault)
        return {"Authorization": self._header} if self._header else {}

    def _prepare(self, contents: Contents) -> Callable[[], None]:
        try:
            token = contents[_SETTING].decode("ascii").strip()
        except UnicodeDecodeError:
            token = ""
        if not HEADER_VALUE.fullmatch(token):
            raise ValueError(f"{self.file} holds no token that a header can carry.")
        return partial(self._use, token)

    def _use(self, token: str) -> None:
        self._header, self._fault = f"Bearer {token}", ""
