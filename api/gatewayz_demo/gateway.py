"""The simulated gateway as a web service with its metrics pages.

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

from gatewayz_demo.metric_store import MetricStore
from gatewayz_demo.simulator import Simulator

Clock = Callable[[], float]


def create_gateway_app(simulator: Simulator, *, clock: Clock = time.time) -> FastAPI:
    """An application with the pages that Prometheus scrapes; `clock` returns Unix seconds."""
    app = FastAPI(title="Simulated GatewayZ", docs_url=None, redoc_url=None, openapi_url=None)
    for target, store in simulator.stores.items():
        app.add_api_route(target.path, _create_page(simulator, store, clock))
    return app


def _create_page(simulator: Simulator, store: MetricStore, clock: Clock) -> Callable[[Request], Awaitable[Response]]:
    registry = CollectorRegistry()
    registry.register(store)

    async def read_page(request: Request) -> Response:
        # Not in a thread: two scrapes at once would simulate the same step twice.
        simulator.advance(clock())
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
    seed: Annotated[int, typer.Option(help="Seed of the random generators; another seed gives other numbers.")] = 7,
    epoch: Annotated[float | None, typer.Option(help="Unix time at which all counters were zero.")] = None,
    spec_families: Annotated[
        bool, typer.Option("--spec-families", help="Also the specification's families that the real gateway lacks.")
    ] = False,
) -> None:
    """Runs the simulated gateway alone; the same seed and epoch continue the same counters."""
    simulator = Simulator(seed=seed, epoch=time.time() if epoch is None else epoch, spec_families=spec_families)
    uvicorn.run(create_gateway_app(simulator), host=host, port=port, log_level="warning", server_header=False)


if __name__ == "__main__":
    typer.run(main)
