"""What docs/metrics.md says of a model call that the real backend counts twice: what our numbers make of it."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from gatewayz_demo import processes
from gatewayz_demo.counters import ModelCounters
from gatewayz_demo.simulator import Simulator
from gatewayz_metrics.catalogue import load
from prometheus_client import CollectorRegistry

from tests.support.client import serving

PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text("utf-8")
START, STEP, SCRAPES = 1_760_000_000, 15, 41
END = START + STEP * (SCRAPES - 1)
PRICE = 0.25
# What one call of 150 tokens that is not streamed adds, and where a call fails, as far as it is known.
MODEL = 'model="m",provider="p"'
ADDED = {
    f'model_inference_requests_total{{{MODEL},status="success"}}': 2,
    f'tokens_used_total{{{MODEL},token_type="input"}}': 200,
    f'tokens_used_total{{{MODEL},token_type="output"}}': 100,
    f"credits_used_total{{{MODEL}}}": PRICE,
}
# The worst case: a failed call for each good one, counted once.
FAILED = {f'model_inference_requests_total{{{MODEL},status="error"}}': 1}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service over a backend that takes one such call between two scrapes."""
    folder = tmp_path_factory.mktemp("twice")
    lines = []
    for name in ("model_inference_requests", "tokens_used", "credits_used"):
        lines.append(f"# TYPE {name} counter")
        for series, value in (ADDED | FAILED).items():
            if series.startswith(f"{name}_total"):
                lines += [f"{series} {value * n} {START + STEP * n}" for n in range(SCRAPES)]
    (folder / "samples.om").write_text("\n".join([*lines, "# EOF", ""]), "utf-8")
    processes.backfill(folder / "samples.om", folder / "tsdb")
    with processes.start_prometheus(folder / "tsdb") as process, serving(process.url) as found:
        yield found


def test_calls_and_tokens_are_twice_the_truth_and_credits_exact(client: TestClient) -> None:
    metrics = client.get("/prometheus/metrics/summary", params={"time": END}).json()["metrics"]
    calls = SCRAPES - 1

    # Failed calls among them.
    assert metrics["models"]["total_inference_requests"] == str(2 * calls + calls)
    assert metrics["models"]["tokens_used_total"] == str(300 * calls)
    assert metrics["business"]["total_tokens_used"] == str(300 * calls)
    assert metrics["models"]["credits_used_total"] == f"{PRICE * calls:.2f}"
    assert metrics["business"]["total_credits_used"] == f"{PRICE * calls:.2f}"


def test_the_share_of_failures_is_too_low_where_they_are_counted_once(client: TestClient) -> None:
    """Every second call fails, and a third is shown; with fewer failures it comes near to half."""
    providers = client.get("/prometheus/metrics/summary", params={"time": END, "values": "number"}).json()
    found = providers["metrics"]["providers"]

    assert found["avg_error_rate"] == 0.3333
    assert (found["total_providers"], found["unavailable_providers"]) == (1, 0)


def test_the_page_names_every_statistic_of_those_families() -> None:
    section = PAGE.partition("## What the gateway counts twice")[2]
    for family in ("model_inference_requests_total", "tokens_used_total", "credits_used_total"):
        [row] = re.findall(rf"^\| `{family}` \|.*\| (.+) \|$", section, re.MULTILINE)
        plain = f"sum({family}{{$selector}})"
        named = {each.name for each in load().statistics if each.expr == plain}

        assert set(re.findall(r"`([a-z._]+)`", row)) == named


def test_nothing_reads_the_older_twins_of_the_http_families() -> None:
    file = files("gatewayz_metrics.catalogue").joinpath("gatewayz.toml").read_text("utf-8")

    assert "fastapi_requests_total" in file
    assert re.findall(r"\bhttp_request\w*", file) == []


def test_the_simulated_gateway_counts_each_call_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    record = ModelCounters.record

    def counting(self: ModelCounters, *args: object, failed: bool) -> None:
        calls.append(failed)
        record(self, *args, failed=failed)  # type: ignore[arg-type]  # what it is called with

    monkeypatch.setattr(ModelCounters, "record", counting)
    simulator = Simulator(epoch=START)
    simulator.advance(START + 600)
    registry = CollectorRegistry()
    for store in simulator.stores.values():
        registry.register(store)
    samples = [sample for family in registry.collect() for sample in family.samples]

    assert len(calls) > 100
    assert sum(each.value for each in samples if each.name == "model_inference_requests_total") == len(calls)
