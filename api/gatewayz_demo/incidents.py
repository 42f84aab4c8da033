"""Troubles of the simulated gateway: one in every period, each of four to ten minutes, in turn of another kind.

They follow from the seed and the time since the epoch alone, so that history, running gateway and terminal agree.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

Kind = Literal["outage", "slow database", "slow provider", "burst"]

# In this order, so that every history of two hours has each, and a new demo begins with the one that shows most.
KINDS: tuple[Kind, ...] = ("outage", "slow database", "slow provider", "burst")
# Seconds; one incident lies within each period of this length.
EVERY = 1800.0
# Seconds: before the earliest start, the shortest, the longest, and the calm that is left after the latest end.
_LEAD, _SHORTEST, _LONGEST, _CALM = 120.0, 240.0, 600.0, 720.0
# Whom they are about: in an outage those with so many calls that the whole gateway's error rate tells of it, else all
# that have enough of them for a share to mean something.
PROVIDERS: dict[Kind, tuple[str, ...]] = {
    "outage": ("openrouter", "openai"),
    "slow provider": ("openrouter", "openai", "anthropic", "google-vertex", "groq"),
}

_SENTENCES: dict[Kind, str] = {
    "outage": "{provider} is down: its breaker opens, answers 502 and 503 rise",
    "slow database": "the database is slow: queries take a hundred times longer, some answers are 500",
    "slow provider": "{provider} is slow: answers take longer, every fifth call fails",
    "burst": "one client sends too much: more requests, half of the model calls are refused with 429",
}


@dataclass(frozen=True)
class Incident:
    """What goes wrong for some minutes; start and end in seconds after the epoch.

    `provider` is the one that an incident of a provider is about, and empty for the others.
    """

    kind: Kind
    start: float
    end: float
    provider: str = ""

    @property
    def sentence(self) -> str:
        """What happens, and where it shows."""
        return _SENTENCES[self.kind].format(provider=self.provider)


@dataclass(frozen=True)
class Incidents:
    """The incidents of one seed, one in every `every` seconds (1320 or more)."""

    seed: int
    every: float = EVERY

    def at(self, elapsed: float) -> Incident | None:
        """The incident under way some seconds after the epoch, if any."""
        found = self._within(int(elapsed // self.every))
        return found if found.start <= elapsed < found.end else None

    def next(self, elapsed: float) -> Incident:
        """The incident under way, or else the first one after it."""
        period = int(elapsed // self.every)
        found = self._within(period)
        return found if elapsed < found.end else self._within(period + 1)

    def _within(self, period: int) -> Incident:
        rng = Random(f"{self.seed}:incident:{period}")  # noqa: S311  # a simulation, not a secret
        kind = KINDS[period % len(KINDS)]
        start = period * self.every + rng.uniform(_LEAD, self.every - _LONGEST - _CALM)
        end = start + rng.uniform(_SHORTEST, _LONGEST)
        return Incident(kind, start, end, rng.choice(PROVIDERS.get(kind, ("",))))
