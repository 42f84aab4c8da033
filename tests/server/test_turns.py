"""Requests are taken in while the event loop is busy with another one."""

import subprocess
import sys

from gatewayz_metrics.cooperative import PIECE_SECONDS

# What the serving process tells of itself as soon as clients can connect.
SERVE = """
import asyncio, os, signal, sys
from gatewayz_metrics import Settings, create_app
from gatewayz_metrics.server.listener import bind_socket
from gatewayz_metrics.server.serve import serve

def tell():
    print(sys.getswitchinterval())
    os.kill(os.getpid(), signal.SIGTERM)

settings = Settings(port=0)
asyncio.run(serve(create_app(settings), settings, bind_socket(settings), on_listening=tell))
"""


def test_the_thread_that_takes_requests_in_gets_its_turn_within_a_piece_of_work() -> None:
    """Between two pieces the loop's thread lets the GIL go for a moment, and the other one's wait begins anew.

    `make bench` measures what this is for: the longest wait of `/livez` during a large answer.
    """
    done = subprocess.run([sys.executable, "-c", SERVE], capture_output=True, text=True, check=True)

    assert 0 < float(done.stdout) < PIECE_SECONDS
