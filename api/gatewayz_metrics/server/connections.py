"""What granian has no call for: hanging up on clients, and accepting no more; its sockets are among our descriptors."""

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

# SO_LINGER on, with no time: what is still queued is dropped, and the peer gets a reset.
_RESET = struct.pack("ii", 1, 0)
# Seconds between two passes at least: a pass over 1,500 descriptors takes about 20 ms.
_PAUSE = 0.1
_IP = (socket.AF_INET, socket.AF_INET6)

_Chooser = Callable[[Any, Any], bool]


class OpenConnections:
    """The TCP connections of this process, to be reset by the client's address.

    One pass over all descriptors serves every client that came due together.
    """

    def __init__(self) -> None:
        # Whether each answer is the last one of its connection.
        self.closing = False
        self._due: set[tuple[str, int]] = set()

    def reset_soon(self, client: tuple[str, int | str]) -> None:
        """Reset the connection of a client, given by address and port, in a moment."""
        if not self._due:
            asyncio.get_running_loop().call_later(_PAUSE, self._reset_due)
        self._due.add((client[0], int(client[1])))

    def reset_all(self, port: int) -> None:
        """Reset every connection that was accepted on one of our ports."""
        _reset(lambda _, ours: bool(ours[1] == port))

    async def drain(self, port: int, seconds: float) -> None:
        """Accept no more on a port, and let every connection end with its next answer; those of idle clients stay.

        What waits to be accepted is left to the processes that share the listening socket.
        """
        _stop_accepting(port)
        self.closing = True
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until and _count(port):  # noqa: ASYNC110  # the kernel tells nobody
            await asyncio.sleep(_PAUSE)

    def _reset_due(self) -> None:
        due, self._due = self._due, set()
        _reset(lambda peer, _: peer[:2] in due)


def _reset(is_meant: _Chooser) -> None:
    """Reset the connections that are chosen by the addresses of both ends."""
    for _, connection in _sockets():
        with suppress(OSError):  # it is not connected, or not any more
            if is_meant(connection.getpeername(), connection.getsockname()):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.shutdown(socket.SHUT_RDWR)


def _count(port: int) -> int:
    """The connections that were accepted on a port."""
    found = 0
    for _, connection in _sockets():
        with suppress(OSError):
            connection.getpeername()
            found += connection.getsockname()[1] == port
    return found


def _stop_accepting(port: int) -> None:
    """Put a socket that nobody knows in the place of those that listen on a port.

    Granian's own way to stop accepting closes connections, too, among them new ones whose request is on its way.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        silent.setblocking(False)
        for number, found in _sockets():
            with suppress(OSError):
                listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listens and found.getsockname()[1] == port:
                    os.dup2(silent.fileno(), number, inheritable=False)


def _sockets() -> Iterator[tuple[int, socket.socket]]:
    """Every IP socket of this process as a duplicate, which cannot become somebody else's, and its own descriptor."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  # numbers, and many of them
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            duplicate = os.dup(int(name))
        except OSError:  # it is closed by now
            continue
        try:
            found = socket.socket(fileno=duplicate)
        except OSError:
            os.close(duplicate)
            continue
        with found:
            if found.family in _IP:
                yield int(name), found
