"""The front: gives warm answers before the framework sees a request, and leaves every other request as it came.

It decides nothing but which requests are equal, and checks the token of each. It stands in two places: as a middleware
of the application, and in the stand-alone server, which need not prepare for a slow body or reader then.
"""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.http.compression import accepts_gzip
from gatewayz_metrics.http.openapi import FORM
from gatewayz_metrics.http.warm import Header, WarmAnswers, WarmKey, WarmPlace
from gatewayz_metrics.service import ServiceProvider

# Bytes of the texts that tell requests apart; a request with more goes on.
_LONGEST = 8192
# A request with one of these headers asks for something else than others do, or has a body of unknown length.
_SPECIAL = frozenset([b"cache-control", b"fromalert", b"transfer-encoding"])
# What answers depend on beside them.
_TELLING = frozenset([b"accept", b"accept-encoding", b"content-length", b"content-type"])
_NOTED = _SPECIAL | _TELLING


class WarmFront:
    """Finds the warm answers of the running service."""

    def __init__(self, services: ServiceProvider) -> None:
        self._answers = services.bind(WarmAnswers)

    def find_place(self, scope: Scope, form: bytes = b"") -> WarmPlace | None:
        """Where the answer to a request, with the form in its body, is kept; None where a route has to look at it."""
        if scope["type"] != "http":
            return None
        try:
            answers = self._answers()
        except ConfigurationError:
            return None
        tenant = answers.find_tenant(scope) if answers.is_on else None
        key = None if tenant is None else _read_key(scope, form, tenant)
        return None if key is None else WarmPlace(answers, key)

    async def answer_at_once(self, scope: Scope, send: Send, *headers: Header) -> bool:
        """Send a small warm answer to a GET request, with more headers; False, and nothing is sent, without one."""
        begun = time.perf_counter()
        if scope["method"] != "GET":
            return False
        place = self.find_place(scope)
        if place is None:
            return False
        answer = place.find()
        if answer is None or answer.is_large:
            place.offer_to(scope)
            return False
        await answer.send(scope, send, begun, headers)
        return True


class WarmMiddleware:
    """An ASGI application that gives warm answers and leaves all else to the one behind it."""

    def __init__(self, app: ASGIApp, front: WarmFront) -> None:
        self._app = app
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        begun = time.perf_counter()
        # Nothing has run since the server's own look, if there was one.
        place = WarmPlace.of(scope) or self._front.find_place(scope)
        if place is not None and place.key.method == "POST":
            receive = replayed = _ReplayedBody(receive)
            form = await replayed.read_whole()
            # All of it anew: tokens may change while a body arrives.
            place = self._front.find_place(scope, form) if form else None
        if place is not None:
            answer = place.find()
            account = place.answers.reserve(answer) if answer is not None and answer.is_large else None
            if answer is not None and (account is not None or not answer.is_large):
                await answer.send(scope, send, begun, account=account)
                return
            place.offer_to(scope)
        await self._app(scope, receive, send)


def _read_key(scope: Scope, form: bytes, tenant: object) -> WarmKey | None:
    """What a request is told from others by; None for one that a route has to look at."""
    method = scope["method"]
    told: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _NOTED:
            if name in _SPECIAL or name in told:
                return None
            told[name] = value
    length = told.get(b"content-length", b"0")
    if method == "POST":
        if not (_is_short(length) and _is_form(told.get(b"content-type", b""))):
            return None
    elif method != "GET" or length != b"0":
        return None
    path, query, accept = scope.get("raw_path") or scope["path"], scope["query_string"], told.get(b"accept", b"")
    encodings = told.get(b"accept-encoding")
    takes_gzip = encodings is not None and accepts_gzip(encodings.decode("latin-1"))
    key = WarmKey(method, path, query, form, accept, takes_gzip, tenant)
    return key if key.size <= _LONGEST else None


def _is_short(length: bytes) -> bool:
    return length.isdigit() and 0 < int(length) <= _LONGEST


def _is_form(content_type: bytes) -> bool:
    return content_type.decode("latin-1").lower().startswith(FORM)


class _ReplayedBody:
    """`receive` whose first message is read before whoever reads the request gets it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._first: Message | None = None
        self._error: Exception | None = None

    async def read_whole(self) -> bytes | None:
        """The body, where it came in one part; None where it did not, or could not be read."""
        try:
            self._first = await self._receive()
        except Exception as exc:  # whatever it is, the reader of the request gets it
            self._error = exc
            return None
        if self._first["type"] != "http.request" or self._first.get("more_body", False):
            return None
        return bytes(self._first.get("body", b""))

    async def __call__(self) -> Message:
        """The next message."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        first, self._first = self._first, None
        return await self._receive() if first is None else first
