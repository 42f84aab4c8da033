"""The simulated gateway as a web service that exposes what it would have counted by now.

`python -m gatewayz_demo.gateway --port 8001` runs it alone.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from gatewayz_demo import scrape
from gatewayz_demo.metric_store import MetricStore
from gatewayz_demo.simulator import Simulator

Clock = Callable[[], float]


def create_gateway_app(world: Simulator, *, clock: Clock = time.time) -> FastAPI:
    """The two pages Prometheus scrapes."""
    app = FastAPI(title="Simulated GatewayZ", docs_url=None, redoc_url=None, openapi_url=None)
    pages = {scrape.METRICS.path: world.metrics, scrape.DATA_METRICS.path: world.data}
    for path, ledger in pages.items():
        app.add_api_route(path, _page(world, ledger, clock))
    return app


def _page(world: Simulator, ledger: MetricStore, clock: Clock) -> Callable[[Request], Awaitable[Response]]:
    registry = CollectorRegistry()
    registry.register(ledger)

    async def read_page(request: Request) -> Response:
        # Not in a thread: two scrapes at once would live through the same step twice.
        world.advance(clock())
        page, content_type = _render(registry, request.headers.get("accept", ""))
        return Response(page, headers={"Content-Type": content_type})

    return read_page


def _render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """OpenMetrics 1.0 for whoever asks for it, Prometheus text 0.0.4 for others, with the content type."""
    if "application/openmetrics-text" in accept:
        return openmetrics.generate_latest(registry), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8"


def main(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 7,
    epoch: Annotated[float | None, typer.Option(help="Unix time at which all counters were zero.")] = None,
) -> None:
    """Runs the simulated gateway alone; the same seed and epoch continue the same counters."""
    world = Simulator(seed=seed, epoch=time.time() if epoch is None else epoch)
    uvicorn.run(create_gateway_app(world), host=host, port=port, log_level="warning", server_header=False)


if __name__ == "__main__":
    typer.run(main)
