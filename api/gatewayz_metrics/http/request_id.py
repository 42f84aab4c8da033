"""The id by which a request is found in logs, and by its sender."""

import itertools
import re
from uuid import uuid4

from fastapi import Request, Response
from starlette.types import Scope

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_REQUEST_ID_KEY = "gatewayz_metrics.request_id"
_PROCESS_ID = uuid4().hex[:20]
_COUNTER = itertools.count(1)


def request_id(scope: Scope) -> str:
    """The caller's own id when it is sane, else a new one."""
    found: str | None = scope.get(_REQUEST_ID_KEY)
    if found is None:
        # A counter behind a random beginning: as unique as a random id, and cheaper.
        found = f"{_PROCESS_ID}{next(_COUNTER):012x}"
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                found = value.decode()
        scope[_REQUEST_ID_KEY] = found
    return found


def id_header(scope: Scope) -> tuple[bytes, bytes]:
    """The header that sends the id back."""
    return b"x-request-id", request_id(scope).encode()


def add_request_id(response: Response, request: Request) -> None:
    """Send the id back."""
    response.raw_headers.append(id_header(request.scope))
