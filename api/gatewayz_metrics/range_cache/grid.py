"""The times at which a range query has points, and how they are written."""

from dataclasses import dataclass
from typing import Self

from gatewayz_metrics.promql.times import TimeRange, format_seconds


@dataclass(frozen=True, slots=True)
class StepGrid:
    """The times `phase + index * step`, each known by its index."""

    phase_ms: int
    step_ms: int

    @classmethod
    def of(cls, span: TimeRange) -> Self:
        """The grid on which the times of a range stand."""
        return cls(span.start_ms % span.step_ms, span.step_ms)

    def index(self, time_ms: int) -> int:
        """The index of a time, or of the last time on the grid before it."""
        return (time_ms - self.phase_ms) // self.step_ms

    def time_ms(self, index: int) -> int:
        """The time with this index."""
        return self.phase_ms + index * self.step_ms

    def stamp(self, index: int) -> bytes:
        """The time with this index as Prometheus writes it: seconds, with three decimals when there are any."""
        time_ms = self.time_ms(index)
        if time_ms < 0:
            return format_seconds(time_ms).encode()
        # Twice as fast as the line above, and needed for every point that is asked for.
        whole, ms = divmod(time_ms, 1000)
        return b"%d.%03d" % (whole, ms) if ms else b"%d" % whole
