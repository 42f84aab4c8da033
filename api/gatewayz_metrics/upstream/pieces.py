"""Large answers decoded piece by piece: decoding one at once would keep the event loop from everything else.

An answer of the Prometheus API is an envelope around one list: of series, of label values, of label sets. The list is
cut at places that look like the end of an element. Whether it is one, decoding tells: a piece that begins with an
element and is a list of JSON ends with an element, so no string or object can ever be cut in two.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from gatewayz_metrics.cooperative import gc_paused, yield_periodically

# An envelope up to the first element, as engines write it; any other is decoded at once.
_HEAD = re.compile(
    rb'\{"status":"success",(?:"isPartial":(?:true|false),)?"data":'
    rb'(?:\{"resultType":"(?:matrix|vector)","result":)?\['
)
# Bytes of a piece; its objects are too few to make the garbage collector look at them.
_PIECE = 2**13
# Bytes up to which an answer is decoded at once, which takes less than a millisecond.
_SMALL = 2**16
# Bytes that are searched in one go.
_STRETCH = 2**21


class AnswerPieces:
    """The elements of an answer's list, some at a time, and in the end an envelope that has the last of them."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        # What is still to be decoded, as an envelope.
        self.envelope = body

    def __iter__(self) -> Iterator[list[Any]]:
        """The elements in pieces; those that are left when it ends stand in `envelope`."""
        body = self._body
        head = _HEAD.match(body)
        if head is None or len(body) <= _SMALL:
            return
        begin, size = head.end(), _PIECE
        mark, offset = _choose_mark(body, begin)
        while mark and (found := body.find(mark, begin + size)) >= 0:
            cut = found + offset
            elements = None if body[found - 1 : found] == b"\\" else _decode_list(body[begin:cut])
            if elements is None:
                # Twice as much, so that trying costs no more than decoding all of it did.
                size = max(2 * size, cut - begin)
                continue
            yield elements
            begin, size = cut + 1, _PIECE
        self.envelope = head[0] + body[begin:]


async def count_marks(body: bytes, mark: bytes) -> int:
    """How often some text stands in a large body; other tasks run in between."""
    pause = yield_periodically()
    count = 0
    for begin in range(0, len(body), _STRETCH):
        count += body.count(mark, begin, begin + _STRETCH + len(mark) - 1)
        await pause()
    return count


def _choose_mark(body: bytes, begin: int) -> tuple[bytes, int]:
    """What stands between two elements like the first, and where in it the comma is."""
    if body.startswith(b'{"metric":{', begin):
        return b',{"metric":{', 0
    if body.startswith(b"{", begin):
        return b"},{", 1
    return (b'","', 1) if body.startswith(b'"', begin) else (b"", 0)


def _decode_list(piece: bytes) -> list[Any] | None:
    """The elements in a piece; None where it ends in the middle of one."""
    try:
        with gc_paused():
            found: list[Any] = orjson.loads(b"[%b]" % piece)
    except orjson.JSONDecodeError:
        return None
    return found
