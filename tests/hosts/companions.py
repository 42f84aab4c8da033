"""What hosts have installed beside us that reaches into every route: each one active, and asked what it has seen."""

from collections.abc import Callable
from dataclasses import dataclass

import sentry_sdk
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport


@dataclass(frozen=True)
class Companion:
    """`join` makes it active in an application; `seen` counts the requests that it has noted so far."""

    join: Callable[[FastAPI], object]
    seen: Callable[[], float]


class _Kept(Transport):
    """Sentry's transactions, kept instead of sent."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)


def instrumentator() -> Companion:
    """prometheus-fastapi-instrumentator: a middleware that looks for the route of every request."""
    registries: list[CollectorRegistry] = []

    def join(app: FastAPI) -> None:
        registries.append(CollectorRegistry())
        Instrumentator(registry=registries[-1]).instrument(app)

    def seen() -> float:
        samples = (sample for each in registries for family in each.collect() for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name == "http_requests_total")

    return Companion(join, seen)


def sentry() -> Companion:
    """The Sentry SDK, which finds FastAPI by itself and changes how routes are made; once in a process."""
    kept = _Kept()
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=kept, traces_sample_rate=1.0)
    return Companion(lambda _: None, lambda: len(kept.envelopes))


def opentelemetry() -> Companion:
    """OpenTelemetry's instrumentation, which names every span by its route."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))

    def join(app: FastAPI) -> None:
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)

    return Companion(join, lambda: len(spans.get_finished_spans()))


COMPANIONS: dict[str, Callable[[], Companion]] = {
    "instrumentator": instrumentator,
    "sentry": sentry,
    "opentelemetry": opentelemetry,
}
