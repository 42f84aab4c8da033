"""Callers: one after the other for latency, many at once for throughput."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from statistics import median
from urllib.parse import urlsplit

Call = Callable[[], Awaitable[object]]


async def paired(calls: Mapping[str, Call], rounds: int) -> dict[str, float]:
    """The median milliseconds of each call, taken in turns so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.perf_counter()
            await call()
            times[name].append(1000 * (time.perf_counter() - begun))
    return {name: median(values) for name, values in times.items()}


async def throughput(url: str, connections: int = 50, seconds: float = 2.0) -> float:
    """Answers per second over kept connections; a bare client, so that it is not what is measured."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    until = time.perf_counter() + seconds
    begun = time.perf_counter()
    counts = await asyncio.gather(*(_caller(host, port, request, until) for _ in range(connections)))
    return sum(counts) / (time.perf_counter() - begun)


async def _caller(host: str, port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    answers = 0
    try:
        while time.perf_counter() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head[:40]
            length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
            await reader.readexactly(length)
            answers += 1
    finally:
        writer.close()
    return answers
