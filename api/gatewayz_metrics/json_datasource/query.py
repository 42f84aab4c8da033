"""Runs the targets of a `/query` request, all at once; one that fails does not affect the others."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gatewayz_metrics.caller_limits import check_range
from gatewayz_metrics.errors import InvalidQuery, LimitExceeded, QueryRefused, ServiceError, TargetsFailed
from gatewayz_metrics.json_datasource.bounds import QueryBudget
from gatewayz_metrics.json_datasource.prometheus import PrometheusQueries
from gatewayz_metrics.json_datasource.requests import DashboardRange, QueryRequest, Target
from gatewayz_metrics.json_datasource.results import (
    QueryResult,
    TargetFailure,
    TargetOutcome,
    TargetResult,
    TargetSeries,
    select_failures,
    select_results,
)
from gatewayz_metrics.json_datasource.targets import (
    TargetPlan,
    TargetPlanner,
    explain_absences,
    explain_short_windows,
)
from gatewayz_metrics.json_datasource.texts import check_sum
from gatewayz_metrics.json_datasource.timing import ENGINE_POINTS, PanelTiming, resolve_range
from gatewayz_metrics.promql.parser import QueryText


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of one request: targets, points per series, and milliseconds of its range."""

    targets: int = 50
    points: int = ENGINE_POINTS
    # 0 sets no limit.
    range_ms: int = 0


class QueryRunner:
    """Runs the targets of panels against one upstream.

    `scrape_ms` is the scrape interval, `now` a clock in Unix seconds.
    """

    def __init__(
        self,
        targets: TargetPlanner,
        prometheus: PrometheusQueries,
        *,
        limits: RequestLimits,
        scrape_ms: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.targets = targets
        self.limits = limits
        self._prometheus = prometheus
        self._scrape_ms = scrape_ms
        self._now = now

    async def answer(self, request: QueryRequest, *, may_be_stale: bool = False) -> Sequence[TargetOutcome]:
        """The outcome of every target that is not empty, in order.

        `may_be_stale` says that kept points may be shown while the upstream is down, with a notice.

        Raises LimitExceeded or InvalidQuery before anything is sent, TargetsFailed when every target failed,
        AnswerTexts when the request's own texts are too long to stand at every series.
        Every target is planned before the first is sent, so that limits on their sum hold for all of them.
        """
        wanted = request.asked
        if len(wanted) > self.limits.targets:
            raise LimitExceeded(f"The panel has {len(wanted)} queries", "MAX_TARGETS", f"{self.limits.targets}")
        timing = self._timing(request)
        budget = QueryBudget(self.targets.max_length)
        plans = [self._plan(target, timing, request, budget) for target in wanted]
        outcomes = await asyncio.gather(*(self._run(plan, may_be_stale=may_be_stale) for plan in plans))
        failures = select_failures(outcomes)
        if failures and len(failures) == len(outcomes):
            raise TargetsFailed({failure.ref_id: failure.error for failure in failures})
        check_sum(sum(result.plan.text_length * len(result.series) for result in select_results(outcomes)))
        return outcomes

    def bounds(self, asked: DashboardRange) -> tuple[int, int]:
        """Start and end of the requested range in milliseconds. Raises InvalidQuery or LimitExceeded."""
        try:
            from_ms, to_ms = resolve_range(asked, self._now)
        except ValueError as exc:
            raise InvalidQuery(str(exc)) from exc
        check_range(to_ms - from_ms, self.limits.range_ms / 1000)
        return from_ms, to_ms

    def _timing(self, request: QueryRequest) -> PanelTiming:
        return PanelTiming(
            *self.bounds(request.range),
            interval_ms=request.interval_ms,
            max_data_points=request.max_data_points,
            timezone=request.timezone,
            scrape_ms=self._scrape_ms,
            max_points=self.limits.points,
        )

    def _plan(
        self, target: Target, timing: PanelTiming, request: QueryRequest, budget: QueryBudget
    ) -> TargetPlan | TargetFailure:
        try:
            return self.targets.plan(target, timing, request.all_filters, budget)
        except ServiceError as exc:
            if budget.is_overdrawn:
                raise
            return TargetFailure(target.ref_id, exc, target.target)

    async def _run(self, plan: TargetPlan | TargetFailure, *, may_be_stale: bool) -> TargetOutcome:
        if isinstance(plan, TargetFailure):
            return plan
        try:
            results, gaps = await asyncio.gather(
                asyncio.gather(*(self._query(plan, query.query, may_be_stale=may_be_stale) for query in plan.asks)),
                self._find_gaps(plan),
            )
        except ServiceError as exc:
            # One failed query fails the whole target: the series of the others would look complete.
            return TargetFailure(plan.ref_id, exc, plan.target, plan.executed)
        all_series = TargetSeries([(query, result.series) for query, result in zip(plan.asks, results, strict=True)])
        notices = [text for result in results for text in result.notices]
        notices += explain_absences((ask, bool(result.series)) for ask, result in zip(plan.asks, results, strict=True))
        notices += gaps if all_series else explain_short_windows(plan.asks, self._scrape_ms)
        return TargetResult(plan, all_series, tuple(dict.fromkeys(notices)))

    async def _find_gaps(self, plan: TargetPlan) -> list[str]:
        """Which points show less than there was; nothing when that cannot be told."""
        questions = dict.fromkeys(query.gaps for query in plan.asks if query.gaps)
        try:
            found = await asyncio.gather(*(self._query(plan, each.query, may_be_stale=True) for each in questions))
        except ServiceError:
            return []
        return [text for each, result in zip(questions, found, strict=True) for text in each.explain(result.series)]

    async def _query(self, plan: TargetPlan, query: QueryText, *, may_be_stale: bool) -> QueryResult:
        if not plan.is_instant:
            return await self._prometheus.query_range(query, plan.grid, may_be_stale=may_be_stale)
        result = await self._prometheus.query(query, plan.at_ms, exact=not may_be_stale)
        if result.series.longest > 1:
            # An instant query of a range selector succeeds with a matrix, which no panel can show as instant values.
            raise QueryRefused("bad_data", "A range such as up[5m] is no instant value; put a function around it.")
        return result
