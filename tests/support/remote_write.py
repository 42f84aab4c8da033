"""Samples written into a running Prometheus at any time: the remote-write protocol by hand.

https://prometheus.io/docs/specs/prw/remote_write_spec/: protobuf in a snappy block.
"""

import struct
from collections.abc import Iterable, Mapping

import httpx

Sample = tuple[Mapping[str, str], int, float]  # labels with __name__, milliseconds, value

_LARGEST_LITERAL = 2**16


def remote_write(client: httpx.Client, url: str, samples: Iterable[Sample]) -> int:
    """Write samples, each a series of its own request entry; the status that the engine answers."""
    body = b"".join(_field(1, _series(*sample)) for sample in samples)
    answer = client.post(f"{url}/api/v1/write", content=_snappy(body), headers=_HEADERS)
    return answer.status_code


_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def _series(labels: Mapping[str, str], at_ms: int, value: float) -> bytes:
    pairs = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, text.encode())) for name, text in sorted(labels.items())
    )
    # 9: field 1, a double. 16: field 2, a varint.
    return pairs + _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at_ms))


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _snappy(body: bytes) -> bytes:
    """A snappy block of literals alone: valid, only not small."""
    out = [_varint(len(body))]
    for start in range(0, len(body), _LARGEST_LITERAL):
        piece = body[start : start + _LARGEST_LITERAL]
        out += [bytes([61 << 2]), struct.pack("<H", len(piece) - 1), piece]
    return b"".join(out)
