"""Response bodies in the encoding that the client accepts: gzip or none.

No other encoding is offered, as Grafana's resource calls fail on all others.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping

from fastapi import Request, Response

from gatewayz_metrics.bounded_store import remember_short
from gatewayz_metrics.memory import AnswerBuffer

# Bytes. A smaller body fits into one network packet anyway.
_COMPRESS_FROM = 1400
# Bytes. Compressing more would keep the event loop from other requests for too long; zlib releases the GIL in a thread.
_USE_THREAD_ABOVE = 256 * 1024
# Bytes that are compressed in one go there; what comes out is reserved part by part.
_PART = 2**20
_FASTEST_LEVEL = 1
# Characters of an Accept-Encoding header; a longer one says nothing.
_LONGEST_HEADER = 1024
_GZIP_FORMAT = 31  # zlib's wbits: the largest window, with a gzip header


# Gives what a function makes, which may have been made before.
Keeper = Callable[[Callable[[], Awaitable[bytes]]], Awaitable[bytes]]


async def compress(
    request: Request, status: int, body: bytes, headers: Mapping[str, str], keep: Keeper | None = None
) -> Response:
    """A response, JSON unless a header says otherwise, with the body in an encoding that the request accepts.

    Where the body is kept, `keep` keeps its compressed form. 204 has neither body nor headers.
    """
    # Vary: a cache in between must not give gzip to a client that does not accept it.
    common = {"Content-Type": "application/json", "Vary": "Accept-Encoding", **headers}
    if status == 204:
        return Response(status_code=204)
    if len(body) < _COMPRESS_FROM or not accepts_gzip(request.headers.get("accept-encoding", "")):
        return Response(body, status, common)
    packed = await (_gzip(body) if keep is None else keep(lambda: _gzip(body)))
    return Response(packed, status, common | {"Content-Encoding": "gzip"})


@remember_short(64)
def accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip with a weight above zero (RFC 9110, 12.5.3)."""
    if len(accepted) > _LONGEST_HEADER:
        return False
    for item in accepted.lower().split(","):
        coding, _, weight = item.replace(" ", "").partition(";q=")
        if coding in ("gzip", "x-gzip"):
            return weight.strip("0.") != "" if weight else True
    return False


async def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_FASTEST_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    if len(body) <= _USE_THREAD_ABOVE:
        return compressor.compress(body) + compressor.flush()
    packed = AnswerBuffer()
    for begin in range(0, len(body), _PART):
        packed.write(await asyncio.to_thread(compressor.compress, memoryview(body)[begin : begin + _PART]))
    packed.write(compressor.flush())
    return packed.finish()
