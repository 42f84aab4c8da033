"""When something goes wrong in the simulated gateway, and what is seen of it."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from gatewayz_demo import topology
from gatewayz_demo.incidents import EVERY, KINDS, PROVIDERS, Incident, Incidents, Kind
from gatewayz_demo.simulator import Simulator

EPOCH = 1_700_000_010.0
# A demo goes live after two hours of history.
LIVE = 7200.0


def following(incidents: Incidents, count: int, elapsed: float = 0.0) -> Iterator[Incident]:
    for _ in range(count):
        found = incidents.next(elapsed)
        yield found
        elapsed = found.end


def test_each_takes_four_to_ten_minutes_and_leaves_some_calm_before_the_next() -> None:
    found = list(following(Incidents(7), 200))

    assert all(240 <= each.end - each.start <= 600 for each in found)
    assert all(after.start - before.end > 720 for before, after in pairwise(found))
    for kind in KINDS:
        providers = {each.provider for each in found if each.kind == kind}
        assert providers == set(PROVIDERS.get(kind, ("",)))
        assert providers <= {*topology.PROVIDERS, ""}


def test_every_kind_is_in_two_hours_and_a_demo_begins_with_an_outage() -> None:
    assert {each.kind for each in following(Incidents(7), 4)} == set(KINDS)
    for seed in range(50):
        first = Incidents(seed).next(LIVE)
        assert first.kind == "outage"
        assert 120 <= first.start - LIVE <= 480


def test_the_one_under_way_is_the_next() -> None:
    incidents = Incidents(7)
    first = incidents.next(0)

    assert incidents.at(first.start - 1) is None
    assert incidents.at(first.start) == incidents.at(first.end - 1) == incidents.next(first.end - 1) == first
    assert incidents.at(first.end) is None
    assert incidents.next(first.end).start > EVERY


@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_names_what_happens(kind: Kind) -> None:
    sentence = Incident(kind, 0, 300, "groq" if "{provider}" in kind else "openai").sentence

    assert ":" in sentence
    assert "{" not in sentence


def growth(kind: Kind, name: str, **labels: str) -> tuple[float, float]:
    """How much series grow per second: before the first incident of a kind, and in it."""
    simulator = Simulator(epoch=EPOCH)
    found = next(each for each in following(simulator.incidents, len(KINDS)) if each.kind == kind)
    if found.provider and "provider" in labels:
        labels["provider"] = found.provider
    moments = (found.start - 300, found.start, found.start + 10, found.end)
    totals = []
    for moment in moments:
        simulator.advance(EPOCH + moment)
        totals.append(total(simulator, name, labels))
    return (totals[1] - totals[0]) / 300, (totals[3] - totals[2]) / (moments[3] - moments[2])


def total(simulator: Simulator, name: str, labels: dict[str, str]) -> float:
    metrics = simulator.metrics
    fitting = (each for each in metrics.series() if each.name == name and labels.items() <= each.labels.items())
    return sum(metrics.values[each.position] for each in fitting)


@pytest.mark.parametrize(
    ("kind", "name", "labels", "times"),
    [
        ("outage", "fastapi_requests_total", {"status_class": "5xx"}, 2),
        ("outage", "circuit_breaker_rejected_requests_total", {"provider": ""}, 2),
        ("slow provider", "model_inference_requests_total", {"provider": "", "status": "error"}, 5),
        ("slow database", "database_query_duration_seconds_sum", {}, 50),
        ("slow database", "fastapi_requests_total", {"status_code": "500"}, 2),
        ("burst", "fastapi_requests_total", {"status_code": "429"}, 10),
        ("burst", "fastapi_requests_total", {}, 1.4),
    ],
)
def test_an_incident_shows(kind: Kind, name: str, labels: dict[str, str], times: float) -> None:
    before, within = growth(kind, name, **labels)

    assert within > times * before
    assert within > 0
