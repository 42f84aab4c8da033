"""One budget of memory for all answers under way: what they take is reserved before it is spent.

Reserved are the bytes of an upstream answer while they arrive, what it becomes when it is decoded, the body that is
written from it, and that body until it is sent. What the caches keep has limits of its own.

Every request has an account, and so has every call that several requests share. A request keeps the accounts of the
calls whose results it uses, so a reservation ends when the last of them has ended, however that came about. Which
account is charged is a context variable, and tasks inherit it; without an account nothing is reserved.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from io import BytesIO
from typing import Any, TypeVar

from gatewayz_metrics.errors import MemoryFull

T = TypeVar("T")

# What callers' own queries may take of it; the rest is kept for the catalogue, so that the metrics routes answer while
# somebody's queries fill everything.
_CALLERS_SHARE = 7 / 8
# A buffer that grows is up to this much larger than what is in it, and reserved in such steps, but not in smaller
# ones than so many bytes.
_SLACK = 9 / 8
_SMALLEST_STEP = 2**12


class MemoryBudget:
    """The bytes that answers may take together; it belongs to one event loop."""

    def __init__(self, capacity: int, observe: Callable[[float], object] = lambda _bytes: None) -> None:
        self.capacity = capacity
        self.held = 0
        self._observe = observe
        # Bodies that are being sent, each counted once: the bytes and how many responses they belong to.
        self._bodies: dict[int, tuple[bytes, int]] = {}

    def open(self, *, for_catalogue: bool = False) -> "MemoryAccount":
        """A new account, which its owner has to close."""
        return MemoryAccount(self, for_catalogue=for_catalogue)

    def take(self, size: int, *, for_catalogue: bool = False) -> None:
        """Reserve some bytes. Raises MemoryFull when they do not fit."""
        limit = self.capacity if for_catalogue else int(self.capacity * _CALLERS_SHARE)
        if self.held + size > limit:
            raise MemoryFull(self.capacity)
        self.held += size
        self._observe(self.held)

    def give(self, size: int) -> None:
        """Take a reservation back."""
        self.held -= size
        self._observe(self.held)

    def take_body(self, body: bytes, *, for_catalogue: bool) -> None:
        """Reserve a body that is sent, unless another response sends it already. Raises MemoryFull."""
        _, responses = self._bodies.get(id(body), (body, 0))
        if not responses:
            self.take(len(body), for_catalogue=for_catalogue)
        self._bodies[id(body)] = body, responses + 1

    def give_body(self, body: bytes) -> None:
        """One response less sends a body."""
        _, responses = self._bodies.pop(id(body))
        if responses > 1:
            self._bodies[id(body)] = body, responses - 1
        else:
            self.give(len(body))


class MemoryAccount:
    """What one request, or one call that requests share, has reserved; it ends when all its holders have closed it."""

    def __init__(self, budget: MemoryBudget, *, for_catalogue: bool = False) -> None:
        self.size = 0
        self._budget = budget
        self._for_catalogue = for_catalogue
        self._holders = 1
        self._kept: list[MemoryAccount] = []
        self._body: bytes | None = None

    def open(self) -> "MemoryAccount":
        """An account for a call that others may join."""
        return MemoryAccount(self._budget, for_catalogue=self._for_catalogue)

    def reserve(self, size: int) -> None:
        """Reserve bytes until the account ends. Raises MemoryFull."""
        # A task that outlives its request is about to end, and nobody would take back what it reserves.
        if self._holders:
            self._budget.take(size, for_catalogue=self._for_catalogue)
            self.size += size

    def give_back(self, size: int) -> None:
        """Take bytes back before the account ends."""
        size = min(size, self.size)
        self.size -= size
        self._budget.give(size)

    def keep(self, other: "MemoryAccount") -> None:
        """Hold another account for as long as this one lasts, as its result is used here."""
        if self._holders and other.join():
            self._kept.append(other)

    def join(self) -> bool:
        """One holder more; False when it has ended."""
        self._holders += bool(self._holders)
        return bool(self._holders)

    def let_go(self) -> None:
        """Hold no other account any longer, as what is used here was made anew from their results."""
        kept, self._kept = self._kept, []
        for other in kept:
            other.close()

    def settle(self, body: bytes) -> None:
        """Reserve the body of a response alone, which is all that is left of the work. Raises MemoryFull."""
        self._release()
        self._budget.take_body(body, for_catalogue=self._for_catalogue)
        self._body = body

    def close(self) -> None:
        """One holder less; the last one takes everything back. Closing an account that has ended changes nothing."""
        self._holders = max(0, self._holders - 1)
        if not self._holders:
            self._release()

    def _release(self) -> None:
        self.give_back(self.size)
        self.let_go()
        body, self._body = self._body, None
        if body is not None:
            self._budget.give_body(body)


_current: ContextVar[MemoryAccount | None] = ContextVar("gatewayz_metrics_memory", default=None)


@contextmanager
def charging(account: MemoryAccount) -> Iterator[None]:
    """Reserve for an account within the block, and in the tasks that are started there."""
    token = _current.set(account)
    try:
        yield
    finally:
        _current.reset(token)


def reserve_memory(size: int) -> None:
    """Reserve bytes for as long as the running request lasts. Raises MemoryFull."""
    if (account := _current.get()) is not None:
        account.reserve(size)


@contextmanager
def borrow_memory(size: int) -> Iterator[None]:
    """Reserve bytes for the block alone. Raises MemoryFull."""
    account = _current.get()
    if account is None:
        yield
        return
    account.reserve(size)
    try:
        yield
    finally:
        account.give_back(size)


def keep_account(account: MemoryAccount | None) -> None:
    """Hold an account for as long as the running request lasts."""
    current = _current.get()
    if current is not None and account is not None:
        current.keep(account)


def let_accounts_go() -> None:
    """Hold none of the results that the running request has asked for, as it has made its own from them."""
    if (account := _current.get()) is not None:
        account.let_go()


def open_account() -> MemoryAccount | None:
    """An account for work that the running request has begun and that may outlive it; None when nothing is reserved."""
    current = _current.get()
    return None if current is None else current.open()


def start_shared(work: Coroutine[Any, Any, T]) -> tuple[asyncio.Task[T], MemoryAccount | None]:
    """A task for a call that several requests may share, and the account that it is charged to."""
    account = open_account()
    context = copy_context()
    context.run(_current.set, account)
    return asyncio.create_task(work, context=context), account


class AnswerBuffer:
    """Bytes that arrive or are written piece by piece, reserved before they are kept.

    The whole is had without a copy, which joining pieces or `bytes(bytearray)` would make. Where it is known about
    how many bytes are `expected`, these are set aside at once: growing by steps copies what is there again and again.
    """

    def __init__(self, expected: int = 0) -> None:
        """Raises MemoryFull."""
        self.size = 0
        self._reserved = expected
        reserve_memory(expected)
        # Zeros that come from the system are only touched when they are written over.
        self._bytes = BytesIO(bytes(expected))

    def write(self, piece: bytes) -> None:
        """Add a piece. Raises MemoryFull."""
        self.size += len(piece)
        if self.size > self._reserved:
            step = max(_SMALLEST_STEP, int(self.size * _SLACK) - self._reserved)
            reserve_memory(step)
            self._reserved += step
        self._bytes.write(piece)

    def finish(self) -> bytes:
        """All pieces; nothing may be written afterwards."""
        self._bytes.truncate(self.size)
        return self._bytes.getvalue()
