"""A real Prometheus 3, where PROMETHEUS3_BIN names one: what it remarks, and names that it removes late."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gatewayz_demo import processes
from gatewayz_demo.engines import Engine as EngineBinary
from gatewayz_metrics.promql.times import TimeRange
from gatewayz_metrics.range_cache import RangeQuery

from tests.prometheus_api.seeded_engine import World
from tests.range_cache.rig import rig

BINARY = os.environ.get("PROMETHEUS3_BIN", "")
pytestmark = pytest.mark.skipif(not BINARY, reason="PROMETHEUS3_BIN names no Prometheus 3")

FLAGS = ["--web.enable-remote-write-receiver", "--enable-feature=promql-delayed-name-removal"]
STEP = 15


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An hour of a histogram whose buckets are not monotonic, of gauges that come and go, and of odd names."""
    binary = EngineBinary("prometheus", Path(BINARY))
    folder = tmp_path_factory.mktemp("prometheus3")
    with (
        processes.start_prometheus(folder / "tsdb", extra_flags=FLAGS, engine=binary) as process,
        httpx.Client(trust_env=False) as client,
    ):
        found = World(process, client)
        for at in range(found.begin, found.begin + 3600, STEP):
            t = at - found.begin
            buckets = {"0.1": t, "0.5": t * 0.9, "1": t * 1.1, "+Inf": t * 1.2}
            series = [
                ({"__name__": "s_bucket", "le": le, "job": "a"}, 1000 * at, value) for le, value in buckets.items()
            ]
            series.append(({"__name__": "gauge", "job": "a<b>&c"}, 1000 * at, float(t % 70)))
            series.append(({"__name__": "x_bucket", "le": "odd"}, 1000 * at, float(t)))
            if t % 600 < 300:
                series.append(({"__name__": "flap", "job": "a"}, 1000 * at, float(t)))
            found.write(series)
        yield found


QUERIES = [
    "histogram_quantile(0.31, rate(s_bucket[1m]))",
    "rate(gauge[1m])",
    "rate(gauge[1m]) + rate(gauge[2m])",
    "quantile(2, gauge)",
    "histogram_quantile(0.5, x_bucket)",
    "sum by (__name__) (rate(flap[1m]))",
    'sum by (__name__) ({__name__=~"flap|gauge"} or rate({__name__=~"flap|gauge"}[1m]))',
    "gauge",
    "gauge + on (__name__) gauge",
]


@pytest.mark.parametrize("step_ms", [10_000, 7330])
@pytest.mark.parametrize("query", QUERIES)
def test_every_refresh_is_the_engines_own_byte_for_byte(engine: World, query: str, step_ms: int) -> None:
    """1.2, 1.5, 1.6, 1.7."""
    end = 1000 * (engine.begin + 1800)
    with rig(engine.url, engine.begin + 3000) as cache:
        for number in range(40):
            moved = end + number // 2 * step_ms
            question = RangeQuery(query, TimeRange(moved - 1_800_000, moved, step_ms))
            found = cache.ask(question)
            direct = cache.direct(question)
            assert found.status == direct.status
            ours, theirs = json.loads(found.body), json.loads(direct.body)
            for kind in ("infos", "warnings"):
                assert sorted(ours.get(kind, ())) == sorted(theirs.get(kind, ()))
            if len(ours.get("infos", ())) < 2:
                assert found.body == direct.body.rstrip()
