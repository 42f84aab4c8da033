"""The sockets on which workers accept connections."""

import socket
import sys

from gatewayz_metrics.server.listener import base_url, bind_socket, listen
from gatewayz_metrics.settings import Settings

# Linux spreads connections over all sockets that listen on a port. On one socket for all workers whoever wakes first
# takes most of a burst: of 50 connections 45, as measured. Elsewhere the newest socket would get all.
_KERNEL_SPREADS = sys.platform == "linux"


class Listeners:
    """A listening socket for each worker, kept open while workers come and go: what waits there waits for the next.

    Where the kernel does not spread connections over several sockets, all workers share one.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError when the port cannot be used."""
        # It is bound like that of a single process, so that a taken port is found, and claims the port to the end.
        self._claim = bind_socket(settings)
        self._settings = settings.model_copy(update={"port": self._claim.getsockname()[1]})
        self._open: dict[int, socket.socket] = {}
        if _KERNEL_SPREADS:
            self._claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            for number in range(settings.workers):
                self.get(number)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """By which this machine reaches the workers."""
        return base_url(self._claim)

    def get(self, number: int) -> socket.socket:
        """The socket of a worker. Raises ConfigurationError."""
        if number not in self._open:
            bound = bind_socket(self._settings, shares_port=True) if _KERNEL_SPREADS else self._claim
            listen(bound)
            self._open[number] = bound
        return self._open[number]

    def withdraw(self, number: int) -> None:
        """Let no client wait for a worker that will not be there for a while."""
        found = self._open.pop(number, None)
        if found is not None and found is not self._claim:
            found.close()

    def close(self) -> None:
        """Close all of them; what waits there is refused."""
        for found in (self._claim, *self._open.values()):
            found.close()
