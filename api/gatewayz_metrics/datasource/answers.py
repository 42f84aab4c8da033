"""The answer to a target: named curves with a unit, or the reason why there are none."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gatewayz_metrics.datasource.series import Series
from gatewayz_metrics.datasource.targets import Ask, Plan
from gatewayz_metrics.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Curve:
    """One series and the expression that it answers."""

    ask: Ask
    series: Series

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, the metric's name aside."""
        return {name: value for name, value in self.series.labels.items() if name != "__name__"}

    @property
    def metric(self) -> str:
        """What is measured."""
        return self.ask.name or self.series.labels.get("__name__", "")

    @property
    def templated(self) -> dict[str, str]:
        """What a legend's template may name."""
        return {**self.series.labels, "__name__": self.metric}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one target gave."""

    plan: Plan
    curves: tuple[Curve, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one target gave nothing."""

    ref_id: str
    error: ServiceError
    # The query, as far as it was made out.
    executed: str = ""


Outcome = Answer | Failure


def failures(outcomes: Sequence[Outcome]) -> list[Failure]:
    """Those that failed."""
    return [outcome for outcome in outcomes if isinstance(outcome, Failure)]


def answered(outcomes: Iterable[Outcome]) -> Iterator[Answer]:
    """Those that did not."""
    return (outcome for outcome in outcomes if isinstance(outcome, Answer))
