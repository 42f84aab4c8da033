"""How long a question may take: waiting for a place and the answer together."""

import time
from dataclasses import dataclass

from gatewayz_metrics.errors import TimedOut
from gatewayz_metrics.promql.times import parse_duration
from gatewayz_metrics.settings import Settings
from gatewayz_metrics.upstream.request import ApiRequest, Endpoint

# What waiting may take of it: a place that comes later is of no use to anybody.
_WAITING_SHARE = 0.75
# Seconds that the engine gets to tell in its own words that the request's `timeout` is over.
_ENGINES_WORDS = 0.5


@dataclass(frozen=True, slots=True)
class Deadline:
    """A number of seconds that began at `begun` (monotonic), and what set it."""

    seconds: float
    setting: str
    begun: float

    @property
    def remaining(self) -> float:
        """Seconds that are left."""
        return self.begun + self.seconds - time.monotonic()

    @property
    def remaining_wait(self) -> float:
        """Seconds that are left for waiting."""
        return self.begun + self.seconds * _WAITING_SHARE - time.monotonic()

    def no_longer_than(self, seconds: float, setting: str) -> "Deadline":
        """The deadline, or a shorter one that began with it."""
        return self if self.seconds <= seconds else Deadline(seconds, setting, self.begun)

    def exceeded(self, *, by_upstream: bool = False) -> TimedOut:
        """The error of a question that took longer."""
        return TimedOut(self.seconds, self.setting, by_upstream=by_upstream)


def start_deadline(call: ApiRequest, settings: Settings) -> Deadline:
    """The deadline of a request that begins now; its own `timeout` parameter holds where it is shorter."""
    if call.endpoint is Endpoint.QUERY_RANGE:
        seconds, setting = settings.prometheus_range_timeout, "PROMETHEUS_RANGE_TIMEOUT"
    else:
        seconds, setting = settings.prometheus_timeout, "PROMETHEUS_TIMEOUT"
    asked = _parse_timeout(call.get("timeout"))
    if asked is not None and asked + _ENGINES_WORDS < seconds:
        seconds, setting = asked + _ENGINES_WORDS, "the request's parameter timeout"
    if call.seconds is not None:
        seconds = min(seconds, call.seconds)
    return Deadline(seconds, setting, time.monotonic())


def _parse_timeout(text: str | None) -> float | None:
    """The seconds of a `timeout` parameter; None for what the engine will refuse or take for its own default."""
    ms = parse_duration(text) if text else None
    return ms / 1000 if ms else None
