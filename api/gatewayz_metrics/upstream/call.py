"""A question to the upstream as it travels, and its answer as it arrives: bytes stay bytes."""

from dataclasses import dataclass
from urllib.parse import urlencode

import orjson

from gatewayz_metrics.errors import BadAnswer
from gatewayz_metrics.upstream.answer import refusal_in
from gatewayz_metrics.upstream.endpoint import Endpoint
from gatewayz_metrics.upstream.tenant import NOBODY, Tenant

Pairs = tuple[tuple[str, str], ...]

_SUCCESS = b'{"status":"success"'


@dataclass(frozen=True, slots=True)
class Call:
    """One request: equal calls have equal answers."""

    endpoint: Endpoint
    parameters: Pairs = ()
    label: str = ""
    tenant: Tenant = NOBODY

    def form(self) -> bytes:
        """The parameters as a form; what was no UTF-8 goes out as it came in."""
        pairs = self.parameters + self.tenant.parameters
        return urlencode(pairs, errors="surrogateescape").encode()


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An envelope as the upstream wrote it: a success, a refusal, or (204) nothing."""

    status: int
    body: bytes
    # Whether the upstream lets it be kept.
    may_keep: bool = True

    @property
    def is_success(self) -> bool:
        """Whether the upstream answered the question."""
        return self.status < 300


def checked(answer: RawAnswer) -> RawAnswer:
    """The answer, if it is an envelope as far as can be told without decoding it. Raises BadAnswer."""
    body = answer.body
    if answer.status == 204 or (body.startswith(_SUCCESS) and body.rstrip().endswith(b"}")):
        return answer
    if answer.status != 200 or refusal_in(body) or _has_status(body):
        return answer
    raise BadAnswer("no status")


def _has_status(body: bytes) -> bool:
    """Whether it is an envelope that puts its members into another order."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadAnswer("invalid JSON") from exc
    return isinstance(document, dict) and document.get("status") == "success"
