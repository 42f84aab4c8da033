"""How costs grow: with the series of a deployment, with viewers, with workers."""

import time
from collections.abc import Iterator
from statistics import median

import httpx

from tests.bench.bench import Bench
from tests.bench.cold import UNCACHED, federate
from tests.bench.dashboard import STEP, panels, refresh
from tests.bench.figures import Point
from tests.bench.load import Ask
from tests.bench.parties import Party, offers_workers
from tests.bench.warm import DISTINCT, METRICS

# Seconds after which a viewer's dashboard refreshes.
REFRESH = 30


def with_series(bench: Bench) -> Iterator[Point]:
    """Cold pages of ever larger deployments."""
    for name in ("tiny", "medium", "wide", "large"):
        engine = bench.engine(name)
        with bench.service(name, **UNCACHED) as ours:
            pages = {"/summary": ours.ask(f"{METRICS}/summary"), "/all": ours.ask(f"{METRICS}/all")}
            values: dict[str, float] = {}
            for page, ask in pages.items():
                values[f"{page} ms"], values[f"{page} CPU ms"] = _cost(bench, ours, ask)
            values["/federate ms"], _ = _cost(bench, engine, federate(engine, None))
            values["memory MB"] = ours.peak_memory() / 1e6
        yield Point(bench.series[name], values)


def _cost(bench: Bench, server: Party, ask: Ask) -> tuple[float, float]:
    """Milliseconds, and processor milliseconds of the server, for one answer."""
    rounds = min(3, bench.form.rounds)
    bench.load.ask_each([ask])
    before = server.processor_seconds()
    taken = bench.load.ask_each([ask] * rounds)
    used = server.processor_seconds() - before
    return median(one.milliseconds for one in taken), 1000 * used / rounds


def with_viewers(bench: Bench) -> Iterator[Point]:
    """Viewers of one dashboard who refresh at different moments, over one step of its panels."""
    engine, seconds = bench.engine("long"), bench.form.range_seconds
    span = STEP if bench.form.name == "full" else 3
    # All viewers have one address here.
    with bench.service("long", MAX_REQUESTS_PER_ADDRESS="0") as ours:
        bench.load.ask_each([ours.ask(path) for path in refresh(int(time.time()) // STEP * STEP, seconds)])
        for viewers in bench.form.viewers:
            asked = max(1, viewers * len(panels()) * span // REFRESH)
            begun = time.time()
            asks = [_view(ours, begun + span * place / asked, place, seconds) for place in range(asked)]
            before = _range_queries(engine), ours.processor_seconds(), engine.processor_seconds()
            crowd = bench.load.scheduled(asks, span)
            upstream = (_range_queries(engine) - before[0]) / span
            found = {
                "asked a second": asked / span,
                "upstream a second": upstream,
                "ms": crowd.milliseconds,
                "service CPU %": 100 * (ours.processor_seconds() - before[1]) / span,
                "engine CPU %": 100 * (engine.processor_seconds() - before[2]) / span,
            }
            yield Point(viewers, found)


def _view(server: Party, at: float, place: int, seconds: int) -> Ask:
    paths = refresh(int(at) // STEP * STEP, seconds)
    return server.ask(paths[place % len(paths)], accepts="gzip")


def _range_queries(engine: Party) -> float:
    """How many range queries the engine has answered, as it says itself."""
    name = 'prometheus_http_requests_total{code="200",handler="/api/v1/query_range"} '
    page = httpx.get(f"{engine.url}/metrics", trust_env=False).text
    return next((float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name)), 0.0)


def with_workers(bench: Bench) -> Iterator[Point]:
    """The same load on one and on two processes."""
    if not offers_workers(bench.code):
        return
    for workers in (1, 2):
        with bench.service("medium", "--workers", str(workers)) as ours:
            asks = {"warm /summary": ours.ask(f"{METRICS}/summary"), "distinct queries": ours.ask(DISTINCT)}
            for ask in asks.values():
                bench.load.crowd(ask, 10, 0.1)
            rates = {
                f"{name} a second": median(
                    bench.load.crowd(ask, 50, bench.form.crowd_seconds).rate for _ in range(min(3, bench.form.rounds))
                )
                for name, ask in asks.items()
            }
            yield Point(workers, rates)


# By the name of the plot. Workers have no points where the service has none.
GROWTH = {"series": with_series, "viewers": with_viewers, "workers": with_workers}
