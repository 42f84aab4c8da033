"""Compressed bodies, whichever library compresses: one gzip member each, within the memory that there is."""

import asyncio
import sys
import zlib
from dataclasses import replace
from hashlib import sha256

import pytest
from gatewayz_metrics.errors import MemoryFull
from gatewayz_metrics.http import compression
from gatewayz_metrics.http.compression import gzip_body
from gatewayz_metrics.memory import MemoryBudget, charging
from hypothesis import given
from hypothesis import strategies as st


def find_packer_without_isal() -> compression._Packer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "isal", None)
        return compression._find_packer()


PACKERS = {"isal": compression._find_packer(), "zlib": find_packer_without_isal()}


@pytest.fixture(params=PACKERS, scope="module")
def packer(request: pytest.FixtureRequest) -> compression._Packer:
    if request.param == "isal":
        pytest.importorskip("isal")
    return PACKERS[request.param]


def unpacked(packed: bytes) -> bytes:
    """What the member holds; an AssertionError for a part of one, or for more than one."""
    unpacker = zlib.decompressobj(31)
    body = unpacker.decompress(packed) + unpacker.flush()
    assert unpacker.eof
    assert not unpacker.unused_data
    return body


def test_isal_compresses_where_it_is_installed() -> None:
    isal_zlib = pytest.importorskip("isal.isal_zlib")

    assert PACKERS["isal"].compressobj is isal_zlib.compressobj
    assert PACKERS["zlib"].compressobj is zlib.compressobj


@given(st.binary(max_size=200) | st.text(st.sampled_from('{"}:,01'), max_size=200).map(str.encode))
def test_any_body_is_one_member_in_one_go_and_in_parts(packer: compression._Packer, body: bytes) -> None:
    for at_once in (200, 50):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compression, "_PACKER", replace(packer, at_once=at_once))
            patch.setattr(compression, "_PART", 7)
            assert unpacked(asyncio.run(gzip_body(body))) == body


def test_what_comes_out_of_a_large_body_is_reserved(packer: compression._Packer) -> None:
    # Noise, which stays as long as it is.
    body = b"".join(sha256(number.to_bytes(4, "big")).digest() for number in range(2**16))
    budget = MemoryBudget(2**22)

    async def packed(room: int) -> bytes:
        account = budget.open(for_catalogue=True)
        account.reserve(budget.capacity - room)
        try:
            with charging(account):
                return await gzip_body(body)
        finally:
            account.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "_PACKER", packer)
        assert unpacked(asyncio.run(packed(2**22))) == body
        with pytest.raises(MemoryFull):
            asyncio.run(packed(2**18))
    assert budget.held == 0
