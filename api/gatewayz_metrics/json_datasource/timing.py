"""Which moments are asked for: the range, its step, and how both are kept within what an engine answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from zoneinfo import ZoneInfo

from gatewayz_metrics.json_datasource.requests import DashboardRange
from gatewayz_metrics.promql.macros import MacroContext
from gatewayz_metrics.promql.times import CALENDAR_BEGIN_MS, TimeRange, to_datetime

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_DEFAULT_POINTS = 500

# Prometheus refuses more points per series,
# https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries.
ENGINE_POINTS = 11_000

# Grafana's own rounding of an interval: up to (exclusive) gives, in milliseconds.
_NICE = (
    *((10, 1), (15, 10), (35, 20), (75, 50), (150, 100), (350, 200), (750, 500)),
    *((1500, 1000), (3500, 2000), (7500, 5000), (12500, 10_000), (17500, 15_000), (25_000, 20_000), (45_000, 30_000)),
    *((90_000, 60_000), (210_000, 120_000), (450_000, 300_000), (750_000, 600_000), (1_050_000, 900_000)),
    *((1_500_000, 1_200_000), (2_700_000, 1_800_000), (5_400_000, _HOUR_MS), (9_000_000, 2 * _HOUR_MS)),
    *((16_200_000, 3 * _HOUR_MS), (32_400_000, 6 * _HOUR_MS), (_DAY_MS, 12 * _HOUR_MS), (7 * _DAY_MS, _DAY_MS)),
    *((21 * _DAY_MS, 7 * _DAY_MS), (42 * _DAY_MS, 30 * _DAY_MS)),
)


@dataclass(frozen=True, slots=True)
class PanelTiming:
    """What every target of a request shares: the range asked for and how finely it is shown."""

    from_ms: int
    to_ms: int
    interval_ms: float | None = None
    max_data_points: float | None = None
    timezone: str = ""
    scrape_ms: int = 15_000
    max_points: int = ENGINE_POINTS

    def grid(self, wanted_ms: int | None = None) -> TimeRange:
        """The aligned points for a target that wants this step, or the panel's."""
        step = self._step(wanted_ms)
        offset = self._zone_offset() if step >= _DAY_MS else 0
        return TimeRange(_floor(self.from_ms, step, offset), _floor(self.to_ms, step, offset), step)

    def span(self, step_ms: int) -> MacroContext:
        """What macros stand for."""
        return MacroContext(TimeRange(self.from_ms, self.to_ms, step_ms), self.scrape_ms)

    def _step(self, wanted_ms: int | None) -> int:
        length = self.to_ms - self.from_ms
        step = wanted_ms or self.interval_ms or round_interval(length / (self.max_data_points or _DEFAULT_POINTS))
        step = max(step, self.scrape_ms)
        # Flooring both ends may add one interval, and both ends are points.
        fewest = length / max(1, min(self.max_points, ENGINE_POINTS) - 2)
        return ceil(step) if step >= fewest else ceil(fewest / 1000) * 1000

    def _zone_offset(self) -> int:
        """The browser's zone is not told; a named one decides where days begin."""
        try:
            offset = to_datetime(self.from_ms).astimezone(ZoneInfo(self.timezone)).utcoffset()
        except (KeyError, ValueError, OSError, OverflowError):
            return 0
        return offset // timedelta(milliseconds=1) if offset else 0


def resolve_range(asked: DashboardRange, now: Callable[[], float]) -> tuple[int, int]:
    """The range in milliseconds; the last hour where none is asked for. Raises ValueError with a sentence."""
    to_ms = asked.to if asked.to is not None else round(now() * 1000)
    from_ms = asked.from_ if asked.from_ is not None else max(CALENDAR_BEGIN_MS, to_ms - _HOUR_MS)
    if from_ms > to_ms:
        raise ValueError("The range ends before it begins; exchange its from and to.")
    return from_ms, to_ms


def round_interval(ms: float) -> int:
    """An interval rounded as Grafana does."""
    for limit, rounded in _NICE:
        if ms < limit:
            return rounded
    return 365 * _DAY_MS


def _floor(ms: int, step: int, offset: int) -> int:
    return (ms + offset) // step * step - offset
