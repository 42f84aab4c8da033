"""Steps and ranges: Grafana's rounding, the scrape interval, alignment, and what engines refuse."""

from datetime import UTC, datetime

import pytest
from gatewayz_metrics.json_datasource.requests import DashboardRange
from gatewayz_metrics.json_datasource.timing import PanelTiming, resolve_range, round_interval
from hypothesis import given
from hypothesis import strategies as st

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
MAY_1 = int(datetime(2025, 5, 1, tzinfo=UTC).timestamp() * 1000)

ROUNDED = [
    *((9.9, 1), (10, 10), (199, 200), (200, 200), (349, 200), (350, 500), (749, 500), (750, SECOND)),
    *((1499, SECOND), (1500, 2 * SECOND), (12_499, 10 * SECOND), (17_499, 15 * SECOND), (17_500, 20 * SECOND)),
    *((44_999, 30 * SECOND), (45_000, MINUTE), (90_000, 2 * MINUTE), (1_050_000, 20 * MINUTE)),
    *((5_399_999, HOUR), (5_400_000, 2 * HOUR), (DAY - 1, 12 * HOUR), (DAY, DAY), (7 * DAY - 1, DAY)),
    *((7 * DAY, 7 * DAY), (21 * DAY, 30 * DAY), (42 * DAY, 365 * DAY), (10_000 * DAY, 365 * DAY)),
]


@pytest.mark.parametrize(("ms", "rounded"), ROUNDED)
def test_intervals_round_as_grafana_rounds_them(ms: float, rounded: int) -> None:
    assert round_interval(ms) == rounded


moments = st.integers(40 * 365 * DAY, 4_000_000_000_000)
clocks = st.builds(
    lambda start, length, interval, width, zone, scrape, most: PanelTiming(
        start, start + length, interval, width, zone, scrape, most
    ),
    moments,
    st.integers(0, 20 * 365 * DAY),
    st.one_of(st.none(), st.floats(0.001, 1e11)),
    st.one_of(st.none(), st.floats(0.5, 1e6)),
    st.sampled_from(["", "browser", "utc", "Europe/Berlin", "America/St_Johns", "../etc/passwd", "Nowhere"]),
    st.sampled_from([1000, 15_000, 60_000]),
    st.sampled_from([3, 100, 11_000, 1_000_000]),
)
wanted = st.one_of(st.none(), st.integers(1, 10 * DAY))


@given(clocks, wanted)
def test_a_grid_is_one_that_engines_answer(clock: PanelTiming, step: int | None) -> None:
    grid = clock.grid(step)

    assert grid.step_ms >= clock.scrape_ms
    assert (grid.end_ms - grid.start_ms) // grid.step_ms + 1 <= min(clock.max_points, 11_000)
    assert (grid.end_ms - grid.start_ms) % grid.step_ms == 0
    # Nothing is later than what was asked for, and less than a step of it is missing.
    assert grid.end_ms <= clock.to_ms < grid.end_ms + grid.step_ms
    assert 0 <= grid.start_ms <= clock.from_ms


@given(clocks, wanted)
def test_steps_below_a_day_stand_on_multiples(clock: PanelTiming, step: int | None) -> None:
    grid = clock.grid(step)

    if grid.step_ms < DAY:
        assert grid.start_ms % grid.step_ms == grid.end_ms % grid.step_ms == 0


@given(st.integers(0, 14_999))
def test_a_refresh_moves_no_point(seconds: int) -> None:
    first = PanelTiming(MAY_1, MAY_1 + HOUR, 15_000).grid()
    later = PanelTiming(MAY_1 + seconds, MAY_1 + HOUR + seconds, 15_000).grid()

    assert later == first


@pytest.mark.parametrize(("zone", "hours"), [("utc", 0), ("browser", 0), ("Europe/Berlin", 22), ("Asia/Tokyo", 15)])
def test_days_begin_where_the_dashboard_is(zone: str, hours: int) -> None:
    grid = PanelTiming(MAY_1 + 10 * HOUR, MAY_1 + 40 * DAY, DAY, timezone=zone).grid()

    assert grid.start_ms % DAY == hours * HOUR


def test_a_payloads_step_wins_over_the_panels() -> None:
    assert PanelTiming(MAY_1, MAY_1 + HOUR, 15_000).grid(2 * MINUTE).step_ms == 2 * MINUTE


def test_without_any_interval_the_width_decides() -> None:
    assert PanelTiming(MAY_1, MAY_1 + 6 * HOUR, None, 100).grid().step_ms == 5 * MINUTE
    assert PanelTiming(MAY_1, MAY_1 + 6 * HOUR).grid().step_ms == 30 * SECOND  # 500 points


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"from": "2025-05-01T00:00:00.000Z", "to": "2025-05-01T01:00:00.000Z"}, (MAY_1, MAY_1 + HOUR)),
        ({"from": "2025-05-01T02:00:00+02:00", "to": "2025-05-01T02:00:00+01:00"}, (MAY_1, MAY_1 + HOUR)),
        ({"from": MAY_1, "to": str(MAY_1 + HOUR)}, (MAY_1, MAY_1 + HOUR)),
        ({"to": MAY_1}, (MAY_1 - HOUR, MAY_1)),
        ({}, (MAY_1 + DAY - HOUR, MAY_1 + DAY)),
    ],
)
def test_ranges_in_every_spelling(asked: dict[str, object], expected: tuple[int, int]) -> None:
    assert resolve_range(DashboardRange.model_validate(asked), now=lambda: (MAY_1 + DAY) / 1000) == expected
