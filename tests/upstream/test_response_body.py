"""Bodies are read to the last byte and never beyond the limit."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import pairwise

import pytest
from gatewayz_metrics.errors import AnswerTooLarge, BadAnswer
from gatewayz_metrics.upstream.response import read_body
from gatewayz_metrics.upstream.transport import ArrivingReply
from hypothesis import given
from hypothesis import strategies as st

LIMIT = 2**20
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    " GZIP ": gzip.compress,
}


async def arrive(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """A body that arrives in these pieces."""
    for piece in pieces:
        yield piece


def read(pieces: Iterable[bytes], encoding: str | None, limit: int = LIMIT, *, unpacks: bool = True) -> bytes:
    headers = {} if encoding is None else {"content-encoding": encoding}
    return asyncio.run(read_body(ArrivingReply(200, headers, arrive(pieces)), limit, unpacks=unpacks))


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in pieces, some of which may be empty."""
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


bodies = st.binary(max_size=2000) | st.integers(0, 300_000).map(bytes) | st.binary(max_size=50).map(lambda b: b * 5000)
cuts = st.lists(st.integers(0, 10**6), max_size=8)


@given(bodies, cuts, st.sampled_from(sorted(ENCODINGS)))
def test_any_body_in_any_pieces_comes_out_whole(body: bytes, cuts: list[int], encoding: str) -> None:
    assert read(cut(ENCODINGS[encoding](body), cuts), encoding) == body


@given(bodies.filter(lambda body: len(gzip.compress(body)) < 3000))
def test_a_packed_body_in_single_bytes_comes_out_whole(body: bytes) -> None:
    packed = gzip.compress(body)

    assert read([packed[at : at + 1] for at in range(len(packed))], "gzip") == body


@given(st.integers(-2, 2), cuts, st.sampled_from(sorted(ENCODINGS)), st.integers(2, 200_000))
def test_the_limit_is_exact(beyond: int, cuts: list[int], encoding: str, limit: int) -> None:
    body = bytes(limit + beyond)
    pieces = cut(ENCODINGS[encoding](body), cuts)

    if beyond > 0:
        with pytest.raises(AnswerTooLarge):
            read(pieces, encoding, limit)
    else:
        assert read(pieces, encoding, limit) == body


@given(st.binary(min_size=1, max_size=2000), cuts, st.integers(1, 10**6))
def test_a_packed_body_that_ends_early_is_refused(body: bytes, cuts: list[int], missing: int) -> None:
    packed = gzip.compress(body)

    with pytest.raises(BadAnswer):
        read(cut(packed[: -(missing % len(packed)) or -1], cuts), "gzip")


@given(st.binary(max_size=500), st.sampled_from(["gzip", "deflate"]))
def test_noise_is_refused(noise: bytes, encoding: str) -> None:
    with pytest.raises((BadAnswer, AnswerTooLarge)):
        read([noise], encoding)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_compression_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(BadAnswer, match="not asked for"):
        read([ENCODINGS[encoding](b"x")], encoding, unpacks=False)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "chunked"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(BadAnswer, match="not asked for"):
        read([b"x"], encoding)


@pytest.mark.parametrize("encoding", [None, "", "identity"])
def test_a_plain_body_comes_out_as_it_is(encoding: str | None) -> None:
    assert read([b"pl", b"", b"ain"], encoding) == b"plain"


def test_unpacking_stops_at_the_limit() -> None:
    packed = gzip.compress(bytes(100 * 2**20), 1)
    tracemalloc.start(1)
    try:
        with pytest.raises(AnswerTooLarge):
            read([packed], "gzip", 2**16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2**21
