"""The simulated gateway: pure, complete, and the same in its history as on its page."""

import csv
import subprocess
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from gatewayz_demo import engines, gateway, history, scrape, topology
from gatewayz_demo.incidents import Incident, Kind
from gatewayz_demo.metric_store import MetricStore
from gatewayz_demo.simulator import Simulator
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from prometheus_client.samples import Sample

EPOCH = 1_700_000_010.0
HOUR = 3600.0

SPECIFIED = {
    "active_api_keys": "gauge",
    "cache_size_bytes": "gauge",
    "credits_used": "counter",
    "database_query_duration_seconds": "summary",
    "fastapi_exceptions": "counter",
    "fastapi_requests": "counter",
    "fastapi_requests_duration_seconds": "histogram",
    "fastapi_requests_in_progress": "gauge",
    "gatewayz_providers_degraded": "gauge",
    "gatewayz_providers_down": "gauge",
    "gatewayz_providers_healthy": "gauge",
    "gatewayz_providers_total": "gauge",
    "model_inference_duration_seconds": "histogram",
    "model_inference_requests": "counter",
    "provider_availability": "gauge",
    "provider_error_rate": "gauge",
    "provider_response_time_seconds": "histogram",
    "subscription_count": "gauge",
    "tokens_used": "counter",
    "trial_active": "gauge",
    "database_queries": "counter",
    "cache_hits": "counter",
    "cache_misses": "counter",
}

WRITTEN_BY_NOBODY = {
    "active_api_keys",
    "cache_hits_total",
    "cache_misses_total",
    "cache_size_bytes",
    "fastapi_exceptions_total",
    "provider_availability",
    "provider_error_rate",
    "provider_response_time_seconds",
    "subscription_count",
    "trial_active",
}

Key = tuple[str, frozenset[tuple[str, str]]]


def page(store: MetricStore) -> str:
    registry = CollectorRegistry()
    registry.register(store)
    return generate_latest(registry).decode()


def keyed(samples: Iterable[Sample], *, added: frozenset[str] = frozenset()) -> dict[Key, float]:
    """The values by name and labels, but for the labels a scrape added."""
    return {
        (sample.name, frozenset((k, v) for k, v in sample.labels.items() if k not in added)): sample.value
        for sample in samples
    }


def shown(store: MetricStore) -> dict[Key, float]:
    return keyed(sample for family in parse(page(store)) for sample in family.samples)


def written(until: float, *, spec_families: bool = False) -> tuple[int, str]:
    text, simulator = StringIO(), Simulator(epoch=EPOCH, spec_families=spec_families)
    return history.write_history(text, simulator, since=EPOCH, until=until), text.getvalue()


def at(moment: float, text: str) -> list[Sample]:
    """The part of a history written for one moment, as an independent parser reads it."""
    # One moment at a time: with several, that parser takes the second for a repetition of the first.
    lines = (line for line in text.splitlines() if line[0] == "#" or line.endswith(f" {moment:.3f}"))
    families = parse_openmetrics("\n".join(lines) + "\n")
    return [sample for family in families for sample in family.samples]


@pytest.fixture(scope="module", params=[False, True], ids=["real", "specified"])
def simulator(request: pytest.FixtureRequest) -> Simulator:
    """A simulator after two hours."""
    simulator = Simulator(epoch=EPOCH, spec_families=request.param)
    simulator.advance(EPOCH + 2 * HOUR)
    return simulator


def recorded() -> dict[str, tuple[str, frozenset[str], str]]:
    """The families of the real gateway's page: type, labels and bucket bounds by name."""
    with (Path(__file__).parent / "backend_families.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: (row["type"], frozenset(row["labels"].split()), row["buckets"]) for row in rows}


def total(simulator: Simulator, name: str, **labels: str) -> float:
    fitting = (
        each for each in simulator.metrics.series() if each.name == name and labels.items() <= each.labels.items()
    )
    return sum(simulator.metrics.values[each.position] for each in fitting)


def test_a_replay_gives_the_same_page(simulator: Simulator) -> None:
    again = Simulator(epoch=EPOCH, spec_families=simulator.spec_families)
    for minute in range(1, 121):
        again.advance(EPOCH + minute * 60)

    assert page(again.metrics) == page(simulator.metrics)
    assert page(again.data) == page(simulator.data)


def test_both_shapes_simulate_the_same_requests(simulator: Simulator) -> None:
    other = Simulator(epoch=EPOCH, spec_families=not simulator.spec_families)
    other.advance(EPOCH + 2 * HOUR)

    for name in ("fastapi_requests_total", "tokens_used_total", "circuit_breaker_state_transitions_total"):
        assert total(other, name) == total(simulator, name) > 0


def test_another_seed_gives_other_numbers(simulator: Simulator) -> None:
    other = Simulator(seed=8, epoch=EPOCH)
    other.advance(EPOCH + 2 * HOUR)

    assert page(other.metrics) != page(simulator.metrics)


def test_time_does_not_run_backwards(simulator: Simulator) -> None:
    before = page(simulator.metrics)
    simulator.advance(EPOCH)

    assert page(simulator.metrics) == before


def test_every_specified_family_is_there_but_the_health_score() -> None:
    kinds = {family.title: family.kind for family in Simulator(epoch=EPOCH, spec_families=True).metrics.families}

    assert kinds.items() >= SPECIFIED.items()


def test_it_exports_nothing_that_the_real_gateway_does_not() -> None:
    real = recorded()

    for family in Simulator(epoch=EPOCH).metrics.families:
        kind, labels, buckets = real[family.name]
        assert family.kind == kind, family.name
        assert set(family.labels) == labels, family.name
        assert family.buckets == tuple(map(float, buckets.split())), family.name


@pytest.mark.parametrize("name", sorted(WRITTEN_BY_NOBODY))
def test_what_the_real_gateway_only_registers_has_no_sample(name: str) -> None:
    simulator = Simulator(epoch=EPOCH)
    simulator.advance(EPOCH + HOUR)

    assert name in recorded()
    assert f"# TYPE {name} " in page(simulator.metrics)
    assert not any(series.name.startswith(name) for series in simulator.metrics.series())


def test_the_second_page_belongs_to_the_specification() -> None:
    assert list(Simulator(epoch=EPOCH).stores) == [scrape.METRICS]
    assert list(Simulator(epoch=EPOCH, spec_families=True).stores) == [scrape.METRICS, scrape.DATA_METRICS]


def test_its_size_is_that_of_a_gateway(simulator: Simulator) -> None:
    assert 1000 < len(simulator.metrics.values) < 6000


def incident_of(simulator: Simulator, kind: Kind) -> Incident:
    """The first incident of a kind."""
    return next(i for i in map(simulator.incidents.at, range(0, 7200, 5)) if i and i.kind == kind)


def test_a_breaker_has_series_from_its_first_change_on() -> None:
    simulator = Simulator(epoch=EPOCH)
    outage = incident_of(simulator, "outage")
    simulator.advance(EPOCH + outage.start)
    before = page(simulator.metrics)
    simulator.advance(EPOCH + outage.end)

    def state(name: str) -> float:
        return total(simulator, "circuit_breaker_current_state", provider=outage.provider, state=name)

    assert f'circuit_breaker_current_state{{provider="{outage.provider}"' not in before
    assert "# TYPE circuit_breaker_current_state gauge" in before
    assert state("closed") == 0
    assert state("open") + state("half_open") == 1
    assert total(simulator, "circuit_breaker_rejected_requests_total", provider=outage.provider) > 0
    changes = {"from_state": "closed", "to_state": "open"}
    assert total(simulator, "circuit_breaker_state_transitions_total", provider=outage.provider, **changes) == 1


@pytest.mark.parametrize("labels", [{"provider": "featherless"}, {"model": "minimax/minimax-m1-80k"}])
def test_an_idle_series_stands_at_zero(simulator: Simulator, labels: dict[str, str]) -> None:
    assert total(simulator, "model_inference_duration_seconds_count", **labels) == 0
    assert 'provider="featherless",status="success"} 0.0' in page(simulator.metrics)


def test_server_errors_are_a_small_share(simulator: Simulator) -> None:
    requests = total(simulator, "fastapi_requests_total")
    errors = total(simulator, "fastapi_requests_total", status_class="5xx")

    assert 0.005 < errors / requests < 0.03


def test_every_kind_of_status_occurs(simulator: Simulator) -> None:
    codes = ["200", "201", "400", "401", "404", "429", "500", "502", "503"]

    assert all(total(simulator, "fastapi_requests_total", status_code=code) for code in codes)


def test_an_outage_shows_everywhere() -> None:
    simulator = Simulator(epoch=EPOCH, spec_families=True)
    outage = incident_of(simulator, "outage")
    simulator.advance(EPOCH + outage.end - 10)

    assert total(simulator, "provider_availability", provider=outage.provider) == 0
    # The breaker keeps most calls from the provider, so that few failures are left to count.
    assert total(simulator, "provider_error_rate", provider=outage.provider) > 0.2
    assert total(simulator, "gatewayz_providers_down") == 1
    healthy = total(simulator, "gatewayz_providers_healthy") + total(simulator, "gatewayz_providers_degraded")
    assert healthy == len(topology.PROVIDERS) - 1
    value = next(
        simulator.data.values[s.position] for s in simulator.data.series() if s.labels["provider"] == outage.provider
    )
    assert 0 < value < 100


def test_promtool_has_only_remarks_about_names(simulator: Simulator) -> None:
    tool = engines.find_engine("promtool")
    command = [str(tool.path), "check", "metrics"]
    done = subprocess.run(
        command, input=page(simulator.metrics), capture_output=True, text=True, check=False
    )  # a known binary

    remarks = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode in (0, 3)
    assert all("should not have" in remark for remark in remarks), remarks


def test_history_is_what_the_pages_showed() -> None:
    count, text = written(EPOCH + 1500, spec_families=True)
    source = ("source", "prometheus_data")

    assert count == sum(line[0] != "#" for line in text.splitlines())
    for moment in (EPOCH, EPOCH + 15, EPOCH + 150, EPOCH + 1500):
        simulator = Simulator(epoch=EPOCH, spec_families=True)
        simulator.advance(moment)
        then = [sample for sample in at(moment, text) if sample.name != "up"]
        data = {(name, labels | {source}): value for (name, labels), value in shown(simulator.data).items()}
        assert keyed(then, added=frozenset({"job", "instance", "env"})) == shown(simulator.metrics) | data


def test_history_carries_the_labels_of_the_scrape() -> None:
    _, text = written(EPOCH)
    requests = [sample.labels for sample in at(EPOCH, text) if sample.name == "fastapi_requests_total"]

    assert {labels["job"] for labels in requests} == {scrape.METRICS.job}
    assert {labels["instance"] for labels in requests} == {scrape.INSTANCE}
    assert {labels["env"] for labels in requests} == {"production"}


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_the_pages_follow_the_clock(accept: str) -> None:
    now = [EPOCH]
    client = TestClient(gateway.create_gateway_app(Simulator(epoch=EPOCH, spec_families=True), clock=lambda: now[0]))
    first = client.get("/metrics", headers={"accept": accept})
    now[0] += 60
    second = client.get("/metrics", headers={"accept": accept})
    data = client.get("/prometheus/data/metrics", headers={"accept": accept})

    assert first.headers["content-type"].startswith(accept.partition(";")[0] or "text/plain")
    assert first.text != second.text
    assert 'provider_availability{provider="groq"} 100.0' in data.text
    assert 'provider_availability{provider="groq"} 1.0' in second.text


STRIDE = 12


def test_a_stride_counts_one_step_for_all() -> None:
    fine, coarse = Simulator(epoch=EPOCH), Simulator(epoch=EPOCH, stride=STRIDE)
    for each in (fine, coarse):
        each.advance(EPOCH + 2 * HOUR)

    requests = total(coarse, "fastapi_requests_total")
    assert fine.now == coarse.now
    assert requests == pytest.approx(total(fine, "fastapi_requests_total"), rel=0.05)
    assert total(coarse, "fastapi_requests_duration_seconds_count") == requests
    assert requests % STRIDE == 0
    assert total(coarse, "gatewayz_daily_cost_estimate_usd") == pytest.approx(
        total(fine, "gatewayz_daily_cost_estimate_usd"), rel=0.2
    )
    # A gauge is what it is, however seldom it is looked at.
    assert total(coarse, "fastapi_requests_in_progress") < 80


def test_the_volume_is_how_many_arrive() -> None:
    usual, twice = Simulator(epoch=EPOCH), Simulator(epoch=EPOCH, volume=lambda _: 2.0)
    for each in (usual, twice):
        each.advance(EPOCH + HOUR)

    assert total(twice, "fastapi_requests_total") == pytest.approx(2 * total(usual, "fastapi_requests_total"), rel=0.03)


def test_a_sparing_history_has_neither_histograms_nor_times_of_creation() -> None:
    text, simulator = StringIO(), Simulator(epoch=EPOCH)
    count = history.write_history(text, simulator, since=EPOCH, until=EPOCH + 600, interval=300, is_sparing=True)
    samples = [line.split("{")[0].split(" ")[0] for line in text.getvalue().splitlines() if line[0] != "#"]

    assert count == len(samples)
    assert "fastapi_requests_total" in samples
    assert "database_query_duration_seconds_sum" in samples
    assert not [name for name in samples if name.endswith(("_bucket", "_created"))]
    assert not [name for name in samples if name.startswith("model_inference_duration_seconds")]


def test_the_process_began_at_the_epoch() -> None:
    simulator = Simulator(epoch=EPOCH)
    simulator.advance(EPOCH + HOUR)

    assert total(simulator, "process_start_time_seconds") == EPOCH
    # Of one core, and of the files that are allowed.
    assert 0.02 < total(simulator, "process_cpu_seconds_total") / HOUR < 0.5
    assert 0.02 < total(simulator, "process_open_fds") / total(simulator, "process_max_fds") < 0.7
