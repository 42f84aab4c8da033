"""Authentication at the upstream: none, basic (RFC 7617) or a bearer token (RFC 6750)."""

from base64 import b64encode
from pathlib import Path

from gatewayz_metrics.engines import HEADER_VALUE
from gatewayz_metrics.errors import Misconfigured
from gatewayz_metrics.settings import Settings


class UpstreamAuth:
    """The Authorization header of every upstream request.

    A token file is read again whenever its modification time changes, as Kubernetes rotates projected tokens.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = settings.prometheus_bearer_token_file
        self._mtime_ns = -1  # no file has it, so the first request reads the file
        self._header = ""
        # Settings allow only one of the three, so the order decides nothing.
        if settings.prometheus_username:
            password = settings.prometheus_password.get_secret_value()
            self._header = "Basic " + b64encode(f"{settings.prometheus_username}:{password}".encode()).decode()
        elif token := settings.prometheus_bearer_token.get_secret_value():
            self._header = f"Bearer {token}"

    def headers(self) -> dict[str, str]:
        """The headers for a request that is sent now. Raises Misconfigured when the token file cannot be used."""
        if self._file is not None:
            self._refresh(self._file)
        return {"Authorization": self._header} if self._header else {}

    def _refresh(self, file: Path) -> None:
        try:
            mtime_ns = file.stat().st_mtime_ns
            if mtime_ns == self._mtime_ns:
                return
            token = file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise Misconfigured(f"PROMETHEUS_BEARER_TOKEN_FILE {file} cannot be read ({exc}).") from exc
        if not HEADER_VALUE.fullmatch(token):
            raise Misconfigured(f"PROMETHEUS_BEARER_TOKEN_FILE {file} holds no token that a header can carry.")
        self._mtime_ns, self._header = mtime_ns, f"Bearer {token}"
