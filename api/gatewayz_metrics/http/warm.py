"""Warm answers: what a route gave and would give again now, kept so that it can be sent without asking the route.

A route that has made its answer from what a cache keeps says so by the cache's lease (`allow_repeat`), and the answer
is kept here for as long as the lease is valid. So the routes and their caches alone decide what may be repeated.
"""

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fastapi import Request, Response
from starlette.types import Scope, Send

from gatewayz_metrics.bounded_store import BoundedStore
from gatewayz_metrics.errors import MemoryFull
from gatewayz_metrics.http.request_id import id_header
from gatewayz_metrics.http.sending import LARGE, send_held
from gatewayz_metrics.lease import Lease
from gatewayz_metrics.memory import MemoryAccount
from gatewayz_metrics.service import Service
from gatewayz_metrics.telemetry import RouteObserver

# What all warm answers may take of MAX_MEMORY_BYTES, and one of them of that.
_SHARE = 1 / 8
_LARGEST_SHARE = 1 / 4
# Bytes, about: an answer without its body and headers, and without the texts that it is kept under.
_OVERHEAD = 2000

_LEASE_KEY = "gatewayz_metrics.lease"
_PLACE_KEY = "gatewayz_metrics.warm_place"

Header = tuple[bytes, bytes]


class WarmKey(NamedTuple):
    """What equal requests have in common."""

    method: str
    path: bytes | str
    query: bytes
    form: bytes
    accept: bytes
    takes_gzip: bool
    tenant: Hashable

    @property
    def size(self) -> int:
        """The bytes of its texts."""
        return len(self.path) + len(self.query) + len(self.form) + len(self.accept)


@dataclass(frozen=True, slots=True)
class WarmAnswer:
    """An answer as it was sent, and for how long it may be sent again."""

    status: int
    # Without the id of its request, and with its age at that time.
    headers: tuple[Header, ...]
    body: bytes
    lease: Lease
    observe: RouteObserver
    for_catalogue: bool

    @property
    def size(self) -> int:
        """The bytes that it takes, about."""
        return _OVERHEAD + len(self.body) + sum(len(name) + len(value) for name, value in self.headers)

    @property
    def is_large(self) -> bool:
        """Whether its body is reserved while it is sent."""
        return len(self.body) >= LARGE

    async def send(
        self,
        scope: Scope,
        send: Send,
        begun: float,
        headers: Iterable[Header] = (),
        account: MemoryAccount | None = None,
    ) -> None:
        """Answer a request that came at `begun`, by `time.perf_counter`, and count it as its route would.

        Further headers come last. A large answer has its reservation in an account, which is closed.
        """
        current = [*self._current_headers(), id_header(scope), *headers]
        self.lease.note_use()
        self.observe(self.status, time.perf_counter() - begun)
        if account is not None:
            await send_held(send, self.status, current, self.body, account)
            return
        await send({"type": "http.response.start", "status": self.status, "headers": current})
        await send({"type": "http.response.body", "body": self.body})

    def _current_headers(self) -> Iterable[Header]:
        """The headers, with its age now."""
        if self.lease.age is None:
            return self.headers
        age = b"%.0f" % self.lease.age()
        return [(name, age if name == b"age" else value) for name, value in self.headers]


class WarmAnswers:
    """The warm answers of one service, bounded in bytes: what was asked for longest ago goes first."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.is_on = service.settings.cache_ttl > 0
        capacity = int(_SHARE * service.settings.max_memory_bytes)
        self._store: BoundedStore[WarmAnswer] = BoundedStore(capacity, _LARGEST_SHARE)

    def find_tenant(self, scope: Scope) -> Hashable:
        """Whose data a request may read, by its token; None where a route has to refuse it."""
        return self._service.authenticator.find_tenant(scope["headers"])

    def find(self, key: WarmKey) -> WarmAnswer | None:
        """The answer to a request, where its route would give it again."""
        found = self._store.get(key)
        if found is None or found.lease.is_valid():
            return found
        # It would take memory until others push it out.
        self._store.discard(key)
        return None

    def keep(self, key: WarmKey, answer: WarmAnswer) -> None:
        """Keep the answer to a request."""
        self._store.put(key, answer, answer.size + key.size)

    def reserve(self, answer: WarmAnswer) -> MemoryAccount | None:
        """Reserve the body of an answer while it is sent; None where there is no memory left."""
        account = self._service.memory.open(for_catalogue=answer.for_catalogue)
        try:
            account.settle(answer.body)
        except MemoryFull:
            account.close()
            return None
        return account


class WarmPlace(NamedTuple):
    """Where the answer to a request is kept, if it is."""

    answers: WarmAnswers
    key: WarmKey

    def find(self) -> WarmAnswer | None:
        """The answer that is there."""
        return self.answers.find(self.key)

    def offer_to(self, scope: Scope) -> None:
        """Let the route of a request keep its answer there."""
        scope[_PLACE_KEY] = self

    @staticmethod
    def of(scope: Scope) -> "WarmPlace | None":
        """The place that was offered to the route of a request."""
        return scope.get(_PLACE_KEY)


def allow_repeat(request: Request, find_lease: Callable[[], Lease | None], tenant: Hashable) -> None:
    """Let equal requests of the tenant have the answer to this one, for as long as its lease is valid.

    The lease is only asked for where the answer can be kept.
    """
    if _PLACE_KEY in request.scope and (lease := find_lease()) is not None:
        request.scope[_LEASE_KEY] = lease, tenant


def keep_warm(request: Request, response: Response, observe: RouteObserver, *, for_catalogue: bool) -> None:
    """Keep the answer to a request where its route allows it and there is a place for it."""
    place = WarmPlace.of(request.scope)
    lease, tenant = request.scope.get(_LEASE_KEY, (None, None))
    # A token may mean another tenant by now than when the place was found.
    if place is None or lease is None or place.key.tenant != tenant:
        return
    headers, body = tuple(response.raw_headers), bytes(response.body)
    answer = WarmAnswer(response.status_code, headers, body, lease, observe, for_catalogue=for_catalogue)
    place.answers.keep(place.key, answer)
