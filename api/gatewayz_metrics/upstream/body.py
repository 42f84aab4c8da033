"""Reading a response body within bounds, packed or not.

httpx unpacks whatever arrives and hands out chunks of any size, so a small gzip bomb
would be in memory before anybody could count. Here the raw stream is unpacked in
bounded steps and counted while it grows.
"""

import zlib
from collections.abc import AsyncIterator

import httpx

from gatewayz_metrics.errors import AnswerTooLarge, BadAnswer

_STEP = 64 * 1024
_AUTO_HEADER = 47  # zlib: gzip or zlib header, found out by itself


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """The whole unpacked body. Raises AnswerTooLarge past `limit` bytes, BadAnswer when broken."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        chunks = response.aiter_raw()
    elif encoding in ("gzip", "x-gzip", "deflate"):
        chunks = _unpacked(response.aiter_raw())
    else:
        raise BadAnswer("a content encoding that was not asked for")
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise AnswerTooLarge(limit)
    return bytes(body)


async def _unpacked(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    unpacker = zlib.decompressobj(_AUTO_HEADER)
    try:
        async for chunk in chunks:
            while chunk and not unpacker.eof:
                yield unpacker.decompress(chunk, _STEP)
                chunk = unpacker.unconsumed_tail  # noqa: PLW2901  # what the bounded step left over
    except zlib.error as exc:
        raise BadAnswer("broken compression") from exc
    if not unpacker.eof:
        raise BadAnswer("compression that ends too early")
