"""Bodies packed for clients that can unpack them: gzip or nothing, as Grafana's resource calls fail on others."""

import asyncio
import zlib
from collections.abc import Mapping
from functools import lru_cache

from fastapi import Request, Response

# Below this a packet is sent anyway, and above the other packing would hold up everybody else.
_WORTH_IT = 1400
_LONG = 256 * 1024
_GZIP = 31  # zlib: with gzip's header


async def compress(request: Request, status: int, body: bytes, headers: Mapping[str, str]) -> Response:
    """A JSON answer in the encoding that the request accepts."""
    head = {"Content-Type": "application/json", "Vary": "Accept-Encoding", **headers}
    if status == 204:
        return Response(status_code=204)
    if len(body) < _WORTH_IT or not _takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(body, status, head)
    packed = await asyncio.to_thread(_gzip, body) if len(body) > _LONG else _gzip(body)
    return Response(packed, status, head | {"Content-Encoding": "gzip"})


@lru_cache(64)
def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is named and not ruled out (RFC 9110, 12.5.3)."""
    for item in accepted.lower().split(","):
        coding, _, weight = item.replace(" ", "").partition(";q=")
        if coding in ("gzip", "x-gzip"):
            return weight.strip("0.") != "" if weight else True
    return False


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()
