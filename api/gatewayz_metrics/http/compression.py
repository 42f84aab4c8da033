"""Response bodies in the encoding that the client accepts: gzip or none.

No other encoding is offered, as Grafana's resource calls fail on all others.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from gatewayz_metrics.bounded_store import remember_short
from gatewayz_metrics.memory import AnswerBuffer

# Bytes. A smaller body fits into one network packet anyway.
_COMPRESS_FROM = 1400
# Bytes that are compressed in one go in a thread; what comes out is reserved part by part.
_PART = 2**20
# Characters of an Accept-Encoding header; a longer one says nothing.
_LONGEST_HEADER = 1024
_GZIP_FORMAT = 31  # zlib's wbits: the largest window, with a gzip header


@dataclass(frozen=True, slots=True)
class _Packer:
    """A library with zlib's interface, and how it is used."""

    compressobj: Callable[..., Any]
    level: int
    # Bytes that take less than a millisecond; more of them are compressed in a thread, where it releases the GIL.
    at_once: int


def _find_packer() -> _Packer:
    """Intel's ISA-L where it is installed: four to seven times as fast as zlib at its fastest, and its output smaller.

    One level each for every size: ISA-L's third takes three times as long for a few percent, and its first saves
    nothing.
    """
    try:
        from isal import isal_zlib  # noqa: PLC0415  # an extra
    except ImportError:
        return _Packer(zlib.compressobj, level=1, at_once=2**18)
    return _Packer(isal_zlib.compressobj, level=2, at_once=2**20)


_PACKER = _find_packer()


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
    packed = await (gzip_body(body) if keep is None else keep(lambda: gzip_body(body)))
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


async def gzip_body(body: bytes) -> bytes:
    """A body as one gzip member. Other requests run while a large one is compressed. Raises MemoryFull."""
    compressor = _PACKER.compressobj(_PACKER.level, zlib.DEFLATED, _GZIP_FORMAT)
    if len(body) <= _PACKER.at_once:
        whole: bytes = compressor.compress(body) + compressor.flush()
        return whole
    packed = AnswerBuffer()
    for begin in range(0, len(body), _PART):
        packed.write(await asyncio.to_thread(compressor.compress, memoryview(body)[begin : begin + _PART]))
    packed.write(compressor.flush())
    return packed.finish()
