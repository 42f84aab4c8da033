"""Rows of warm answers and of small questions: what the way through the service costs."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlencode

from tests.bench.bench import Bench, read
from tests.bench.figures import Figure
from tests.bench.goals import PREBUILT, TRICKSTER
from tests.bench.load import NUMBER, Ask
from tests.bench.parties import Party, reference

METRICS = "/prometheus/metrics"
RANGE = "/api/v1/query_range"
DISTINCT = f"/api/v1/query?query=vector({NUMBER})"
# The last two are bounds: what our server could do at most with FastAPI, and without any framework.
_REFERENCES = {
    PREBUILT: ("fastapi", "uvicorn"),
    "FastAPI under our server": ("fastapi", "granian"),
    "raw ASGI under our server": ("asgi", "granian"),
}
_MANY = 50
_FEW = 10


def measure_warm_pages(bench: Bench) -> Iterator[Figure]:
    """Pages of the metrics routes against the least that can be done for the same bytes."""
    with bench.service("medium") as ours:
        for key, page in (("warm_summary", "summary"), ("warm_text", "system")):
            asked = ours.ask(f"{METRICS}/{page}")
            body, media_type = read(asked)
            with ExitStack() as stack:
                asks = {"ours": asked}
                for name, (kind, server) in _REFERENCES.items():
                    party = stack.enter_context(reference(kind, server, body, media_type))
                    asks[name] = party.ask("/bytes")
                yield bench.crowds(key, ours, asks, _MANY, PREBUILT, note=f"{len(body):,} bytes")


def measure_small_questions(bench: Bench) -> Iterator[Figure]:
    """Instant queries that nobody asked before, and lists of labels that are kept."""
    with bench.service("medium") as ours, bench.trickster("medium") as trickster:
        direct = bench.engine("medium")
        turn = {"ours": ours.ask(DISTINCT), "direct": direct.ask(DISTINCT)}
        yield bench.turns("distinct_latency", ours, [turn] * (60 * bench.form.rounds), "direct")
        yield _against_trickster(bench, "distinct_rate", [ours, direct], trickster, DISTINCT, clients=_MANY)
        labels = f"/api/v1/label/provider/values?{_past(3600)}"
        yield _against_trickster(bench, "labels_rate", [ours, direct], trickster, labels, clients=_MANY)


def measure_range_hits(bench: Bench) -> Iterator[Figure]:
    """The same megabyte of points again and again, as Grafana asks for it."""
    with bench.service("long") as ours, bench.trickster("long") as trickster:
        # About 20 bytes a point, two series a provider.
        points = bench.form.range_seconds // 15
        providers = "|".join(f"openai-{number}" for number in range(max(1, 10**6 // (20 * points * 2))))
        query = f'provider_response_time_seconds_sum{{provider=~"{providers}"}}'
        path = f"{RANGE}?{urlencode({'query': query, 'step': 15})}&{_past(bench.form.range_seconds)}"
        size = len(read(ours.ask(path))[0])
        note = f"{size / 1e6:.2f} MB"
        direct = bench.engine("long")
        yield _against_trickster(
            bench, "range_hits", [ours, direct], trickster, path, clients=_FEW, accepts="gzip", note=note
        )


def _against_trickster(
    bench: Bench,
    key: str,
    both: list[Party],
    trickster: Party | None,
    path: str,
    *,
    clients: int,
    accepts: str = "identity",
    note: str = "",
) -> Figure:
    parties = [*both, trickster] if trickster else both
    asks: dict[str, Ask] = {party.name: party.ask(path, accepts=accepts) for party in parties}
    if trickster is None:
        remark, is_judged = "Trickster not given", True
    else:
        asks[TRICKSTER] = asks.pop(trickster.name)
        is_judged = bench.trickster_version.startswith("2")
        remark = trickster.name + ("" if is_judged else ", where the goal was set against Trickster 2")
    remark = f"{note}; {remark}" if note else remark
    return bench.crowds(key, both[0], asks, clients, TRICKSTER, note=remark, is_judged=is_judged)


def _past(seconds: int) -> str:
    """Start and end of a span whose points no longer change, on the grid of whole minutes."""
    end = int(time.time()) // 60 * 60 - 600
    return urlencode({"start": end - seconds, "end": end})
