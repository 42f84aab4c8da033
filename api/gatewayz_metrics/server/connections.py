"""Hanging up on clients: granian has no call for it, so their sockets are found among our descriptors."""

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Callable
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
        self._due: set[tuple[str, int]] = set()

    def reset_soon(self, client: tuple[str, int | str]) -> None:
        """Reset the connection of a client, given by address and port, in a moment."""
        if not self._due:
            asyncio.get_running_loop().call_later(_PAUSE, self._reset_due)
        self._due.add((client[0], int(client[1])))

    def reset_all(self, port: int) -> None:
        """Reset every connection that was accepted on one of our ports."""
        _reset(lambda _, ours: bool(ours[1] == port))

    def _reset_due(self) -> None:
        due, self._due = self._due, set()
        _reset(lambda peer, _: peer[:2] in due)


def _reset(is_meant: _Chooser) -> None:
    """Reset the connections that are chosen by the addresses of both ends."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  # numbers, and many of them
        try:
            _reset_descriptor(int(name), is_meant)
        except OSError:  # it is closed by now, or not connected
            continue


def _reset_descriptor(number: int, is_meant: _Chooser) -> None:
    if not stat.S_ISSOCK(os.fstat(number).st_mode):
        return
    # A duplicate cannot become somebody else's while it is looked at.
    duplicate = os.dup(number)
    try:
        connection = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
    with connection:
        if connection.family in _IP and is_meant(connection.getpeername(), connection.getsockname()):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.shutdown(socket.SHUT_RDWR)
