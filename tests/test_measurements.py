"""What several processes have measured, as one page."""

from collections.abc import Callable

import pytest
from gatewayz_metrics.measurements import merge_measurements, without_gauges
from gatewayz_metrics.telemetry import Telemetry

from tests.server.workers import samples


def measured(*changes: Callable[[Telemetry], object]) -> Telemetry:
    """The telemetry of a process in which something has happened."""
    found = Telemetry()
    for change in changes:
        change(found)
    return found


def page_of(*processes: Telemetry) -> dict[str, float]:
    return samples(Telemetry().page_of([process.measure() for process in processes]).decode())


def test_the_page_of_one_process_is_its_own() -> None:
    one = measured(
        lambda t: t.of_route("/a")(200, 0.003),
        lambda t: t.of_route("/b")(404, 3.0),
        lambda t: t.of_cache("ranges")("hit"),
        lambda t: t.places.labels("short", "held").set(2),
        lambda t: t.upstream_up.set(1),
    )

    assert Telemetry().page_of([one.measure()]) == one.page()


def test_counters_and_histograms_are_sums() -> None:
    first = measured(lambda t: t.of_route("/a")(200, 0.003), lambda t: t.of_route("/a")(500, 0.3))
    second = measured(lambda t: t.of_route("/a")(200, 0.03), lambda t: t.of_route("/b")(200, 0.03))
    page = page_of(first, second)
    prefix = "gatewayz_metrics_http_request"

    assert page[f'{prefix}s_total{{route="/a",status="200"}}'] == 2
    assert page[f'{prefix}s_total{{route="/a",status="500"}}'] == 1
    assert page[f'{prefix}s_total{{route="/b",status="200"}}'] == 1

    of_a = [value for series, value in page.items() if "_bucket" in series and 'route="/a"' in series]
    assert of_a == sorted(of_a)
    assert len(of_a) == 14
    assert (of_a[0], of_a[-1]) == (0, 3)
    assert page[f'{prefix}_duration_seconds_count{{route="/a"}}'] == 3
    assert page[f'{prefix}_duration_seconds_sum{{route="/a"}}'] == pytest.approx(0.333)


def test_counting_began_with_the_first() -> None:
    first, second = (measured(lambda t: t.warnings.inc()) for _ in range(2))
    began = {name: value for name, value in samples(first.page().decode()).items() if name.endswith("_created")}

    assert began
    assert {name: value for name, value in page_of(second, first).items() if name in began} == began


@pytest.mark.parametrize(
    ("gauge", "values", "together"),
    [
        ("upstream_up", (1, 0), 0),  # some callers are refused
        ("upstream_up", (1, 1), 1),
        ("upstream_last_success", (17.0, 0), 17.0),
        ("upstream_clock_skew", (0.5, -3.0), -3.0),
        ("upstream_clock_skew", (0.5, 0), 0.5),
        ("range_bytes", (5, 6), 11),
        ("memory_bytes", (5, 6), 11),
    ],
)
def test_each_gauge_has_its_rule(gauge: str, values: tuple[float, float], together: float) -> None:
    processes = [measured(lambda t, value=value: getattr(t, gauge).set(value)) for value in values]  # type: ignore[misc]
    name = {"upstream_last_success": "upstream_last_success_timestamp_seconds"}.get(gauge, gauge)
    name = {"upstream_clock_skew": "upstream_clock_skew_seconds", "range_bytes": "range_cache_bytes"}.get(name, name)

    assert page_of(*processes)[f"gatewayz_metrics_{name}"] == together


def test_of_a_process_that_has_ended_the_counts_stay() -> None:
    ended = measured(lambda t: t.warnings.inc(3), lambda t: t.range_bytes.set(7), lambda t: t.of_route("/a")(200, 1))
    gauges = ended.gauges
    counts = merge_measurements([{}, without_gauges(ended.measure(), gauges)], gauges)
    living = measured(lambda t: t.warnings.inc(), lambda t: t.range_bytes.set(2))
    page = samples(Telemetry().page_of([living.measure(), counts]).decode())

    assert page["gatewayz_metrics_upstream_warnings_total"] == 4
    assert page["gatewayz_metrics_range_cache_bytes"] == 2
    assert page['gatewayz_metrics_http_requests_total{route="/a",status="200"}'] == 1


def test_every_gauge_has_a_rule() -> None:
    telemetry = Telemetry()

    assert set(telemetry.gauges) == {one.name for one in telemetry.registry.collect() if one.type == "gauge"}
