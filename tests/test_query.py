"""The query layer where an engine cannot be made to behave: slow refusals, a pause that ends."""

import asyncio
import logging
from math import inf

import pytest
from gatewayz_metrics import query as query_layer
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import CircuitOpen, QueryRefused, Unreachable
from gatewayz_metrics.query import QueryLayer
from gatewayz_metrics.query_plan import balance
from gatewayz_metrics.telemetry import Telemetry
from gatewayz_metrics.upstream.response import SampleTable, Vector

CATALOGUE = load()
# Statistics with one expression are one question.
QUESTIONS = len({statistic.expr for statistic in CATALOGUE.statistics})
GROUPS = query_layer._STATISTIC_GROUPS


class Refusing:
    """An upstream that refuses everything."""

    def __init__(self) -> None:
        self.asked = 0

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002
        self.asked += 1
        raise QueryRefused("execution", "too many samples")


class Recovering:
    """An upstream whose pause ends with the first question, while the others are still turned away."""

    def __init__(self) -> None:
        self.probed = False
        self.asked = 0

    async def instant(self, query: str, time: float | None = None) -> Vector:  # noqa: ARG002
        self.asked += 1
        if self.asked > 1 and not self.probed:
            raise CircuitOpen(Unreachable("prometheus:9090"), 5)
        await asyncio.sleep(0)
        self.probed = True
        return Vector({query.partition('"_part","')[2].partition('"')[0]: [SampleTable((), [("1",)])]})


@pytest.mark.parametrize(
    ("deadline", "asked"),
    [
        (0.0, GROUPS),
        # Halving a group of n down to single questions makes a binary tree: 2n - 1 requests.
        (inf, 2 * QUESTIONS - GROUPS),
    ],
    ids=["over", "far away"],
)
def test_looking_for_the_guilty_expression_ends_at_the_deadline(
    deadline: float, asked: int, caplog: pytest.LogCaptureFixture
) -> None:
    source = Refusing()
    layer = QueryLayer(CATALOGUE, source, Telemetry(), deadline=deadline)
    with caplog.at_level(logging.WARNING):
        snapshot = asyncio.run(layer.statistics())

    assert source.asked == asked
    assert all(isinstance(reading.error, QueryRefused) for reading in snapshot.readings.values())
    assert "too many samples" in caplog.text


def test_the_first_answer_after_a_pause_is_whole() -> None:
    source = Recovering()
    snapshot = asyncio.run(QueryLayer(CATALOGUE, source, Telemetry()).statistics())

    # One group ended the pause; the others came too early and were asked again.
    assert source.asked == GROUPS + (GROUPS - 1)
    assert not snapshot.disturbed


@pytest.mark.parametrize("groups", [1, 2, 4, 40])
def test_work_is_shared_out_evenly(groups: int) -> None:
    weights = [1, 10, 3, 3, 2, 1, 7, 1]
    shares = balance(weights, groups, lambda weight: weight)

    assert sorted(weight for share in shares for weight in share) == sorted(weights)
    assert len(shares) == min(groups, len(weights))
    assert max(map(sum, shares)) <= max(10, 28 / groups + 10)
