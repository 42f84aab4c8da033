"""What `/query` does: every target made out, asked at once, each with its own fate."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gatewayz_metrics.errors import InvalidQuery, LimitExceeded, QueryRefused, ServiceError, TargetsFailed
from gatewayz_metrics.json_datasource.prometheus import PrometheusQueries
from gatewayz_metrics.json_datasource.requests import DashboardRange, QueryRequest, Target
from gatewayz_metrics.json_datasource.results import (
    QueryResult,
    ResultSeries,
    TargetFailure,
    TargetOutcome,
    TargetResult,
    select_failures,
)
from gatewayz_metrics.json_datasource.targets import TargetPlan, TargetPlanner, TargetQuery, explain_short_windows
from gatewayz_metrics.json_datasource.timing import ENGINE_POINTS, PanelTiming, resolve_range


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How much one request may ask for."""

    targets: int = 50
    points: int = ENGINE_POINTS
    # Zero sets no limit.
    range_ms: int = 0


class QueryRunner:
    """Answers for panels over one upstream."""

    def __init__(
        self,
        targets: TargetPlanner,
        questions: PrometheusQueries,
        *,
        limits: RequestLimits,
        scrape_ms: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.targets = targets
        self.limits = limits
        self._questions = questions
        self._scrape_ms = scrape_ms
        self._now = now

    async def answer(self, request: QueryRequest) -> Sequence[TargetOutcome]:
        """The outcome of every target that asks for something, in order.

        Raises TargetsFailed when all of them failed, LimitExceeded before anything is asked.
        """
        wanted = [target for target in request.targets if not target.is_empty]
        if len(wanted) > self.limits.targets:
            raise LimitExceeded(f"The panel has {len(wanted)} queries", "MAX_TARGETS", f"{self.limits.targets}")
        clock = self._clock(request)
        outcomes = await asyncio.gather(*(self._one(target, clock, request) for target in wanted))
        lost = select_failures(outcomes)
        if lost and len(lost) == len(outcomes):
            raise TargetsFailed({failure.ref_id: failure.error for failure in lost})
        return outcomes

    def bounds(self, asked: DashboardRange) -> tuple[int, int]:
        """The range asked for, in milliseconds. Raises InvalidQuery or LimitExceeded."""
        try:
            from_ms, to_ms = resolve_range(asked, self._now)
        except ValueError as exc:
            raise InvalidQuery(str(exc)) from exc
        if 0 < self.limits.range_ms < to_ms - from_ms:
            seconds = f"{(to_ms - from_ms) / 1000:,g}"
            raise LimitExceeded(f"The range has {seconds} seconds", "MAX_RANGE", f"{self.limits.range_ms / 1000:,g}")
        return from_ms, to_ms

    def _clock(self, request: QueryRequest) -> PanelTiming:
        return PanelTiming(
            *self.bounds(request.range),
            interval_ms=request.interval_ms,
            max_data_points=request.max_data_points,
            timezone=request.timezone,
            scrape_ms=self._scrape_ms,
            max_points=self.limits.points,
        )

    async def _one(self, target: Target, clock: PanelTiming, request: QueryRequest) -> TargetOutcome:
        try:
            plan = self.targets.plan(target, clock, request.all_filters)
        except ServiceError as exc:
            return TargetFailure(target.ref_id, exc)
        try:
            found = await asyncio.gather(*(self._ask(plan, ask) for ask in plan.asks))
        except ServiceError as exc:
            return TargetFailure(target.ref_id, exc, plan.executed)
        curves = tuple(
            ResultSeries(ask, one) for ask, each in zip(plan.asks, found, strict=True) for one in each.series
        )
        notices = [text for each in found for text in each.notices]
        if not curves:
            notices += explain_short_windows(plan.asks, self._scrape_ms)
        return TargetResult(plan, curves, tuple(dict.fromkeys(notices)))

    async def _ask(self, plan: TargetPlan, ask: TargetQuery) -> QueryResult:
        if not plan.is_instant:
            return await self._questions.query_range(ask.query, plan.grid)
        found = await self._questions.query(ask.query, plan.at_ms)
        if any(len(series.times) > 1 for series in found.series):
            raise QueryRefused("bad_data", "A range such as up[5m] is no instant value; put a function around it.")
        return found
