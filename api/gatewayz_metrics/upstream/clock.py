"""What time it is for certain: the earlier of our clock and the upstream's, and never what a clock jumped ahead to.

Samples carry the times of the upstream's clock, so what is older than that may still change however late
it is here. The upstream's clock is known by the Date of its answers (RFC 9110, 6.6.1): whole seconds,
rounded down, and absent where a proxy takes it away.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

from gatewayz_metrics.telemetry import Telemetry

log = logging.getLogger(__name__)

# Seconds by which our wall clock and the monotonic one may move apart at once: they are not read in one step.
_TOLERANCE = 2.0
# Seconds for which the earliest of the upstream's clocks counts, as several servers may answer under one name.
_WINDOW = 60.0


# All answers of a second say the same.
@lru_cache(maxsize=1)
def _parse_date(text: str) -> float | None:
    """The Unix seconds of a Date header; None when it is absent or malformed."""
    try:
        date = parsedate_to_datetime(text)
        # One without a zone would be read in ours.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Moment:
    """When something began: certain Unix time, monotonic time, and how often our clock had gone back by then."""

    time: float
    monotonic: float
    jumps: int


class TrustedClock:
    """The time in Unix seconds that our clock and the upstream's have both reached.

    A jump ahead of our clock is believed once an answer's Date agrees. `jumps` counts how often our clock went
    back: what was judged by it until then may have been judged wrongly.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._telemetry = telemetry
        self._wall = wall
        self.monotonic = monotonic
        self.jumps = 0
        # Each clock's distance to the monotonic clock: ours as far as it is believed, and the upstream's at least.
        self._ours = wall() - monotonic()
        self._upstream = self._earlier_upstream = math.inf
        self._window_began = monotonic()

    def now(self) -> float:
        """Unix seconds."""
        return self.begin().time

    def begin(self) -> Moment:
        """The moment at which a question begins."""
        wall, monotonic = self._wall(), self.monotonic()
        self._follow(wall - monotonic)
        return Moment(min(wall, monotonic + self._reached()), monotonic, self.jumps)

    def settle(self, begun: Moment) -> float | None:
        """The time of a moment as an answer's own Date corrects it; None when our clock went back since."""
        if self.begin().jumps != begun.jumps:
            return None
        return min(begun.time, begun.monotonic + self._reached())

    def note_date(self, date: str | None) -> None:
        """Take in the Date of an answer whose head came just now."""
        upstream = _parse_date(date or "")
        if upstream is None:
            return
        wall, monotonic = self._wall(), self.monotonic()
        if monotonic - self._window_began > _WINDOW:
            self._earlier_upstream, self._upstream, self._window_began = self._upstream, math.inf, monotonic
        self._upstream = min(self._upstream, upstream - monotonic)
        # Zero within the second that a Date stands for.
        skew = min(0.0, wall - upstream) + max(0.0, wall - upstream - 1)
        self._telemetry.upstream_clock_skew.set(skew)
        if skew <= _TOLERANCE and wall - monotonic > self._ours:
            self._ours = wall - monotonic

    def _reached(self) -> float:
        return min(self._ours, self._upstream, self._earlier_upstream)

    def _follow(self, distance: float) -> None:
        """Follow our clock: at once when it went back, not at all when it jumped ahead."""
        if distance < self._ours - _TOLERANCE:
            log.warning("The clock went back by %.0f s; what was kept until now is forgotten.", self._ours - distance)
            self.jumps += 1
            self._ours = distance
        elif distance <= self._ours + _TOLERANCE:
            self._ours = distance


class FollowedClock:
    """A clock as a cache reads it, which forgets everything once it went back: settled was what it called so before."""

    def __init__(self, clock: TrustedClock, forget: Callable[[], None]) -> None:
        self._clock = clock
        self._forget = forget
        self._jumps = clock.jumps

    def begin(self) -> Moment:
        """The moment that it is."""
        begun = self._clock.begin()
        if begun.jumps != self._jumps:
            self._jumps = begun.jumps
            self._forget()
        return begun
