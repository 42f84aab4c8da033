"""What a state timeline shows through an outage, by Prometheus' own engine."""

import json
from pathlib import Path

import pytest

from tests.dashboards import reading
from tests.provisioning.promtool import promtool

# Five minutes of scrapes, ten of none, then more; a value every 15 seconds.
SERIES = {'gatewayz_metrics_upstream_up{job="m",instance="a:8000"}': "1x20 stale _x39 1x20"}
SEEN = {"4m": 1, "6m": -1, "14m": -1, "16m": 1}


@pytest.mark.parametrize(("at", "value"), SEEN.items())
def test_a_state_without_news_is_one_of_its_own(at: str, value: int, tmp_path: Path) -> None:
    """Without it the last state is drawn on: green through a whole outage."""
    (query,) = next(p for p in reading.panels(reading.board("gw-service")) if p["type"] == "state-timeline")["targets"]
    expected = {
        "expr": reading.filled(query["expr"]),
        "eval_time": at,
        "exp_samples": [{"labels": '{instance="a:8000"}', "value": value}],
    }
    series = [{"series": name, "values": values} for name, values in SERIES.items()]
    tests = [{"interval": "15s", "input_series": series, "promql_expr_test": [expected]}]
    file = tmp_path / "states.test.yml"
    file.write_text(json.dumps({"tests": tests}), encoding="utf-8")

    content, said = promtool("test", "rules", file)

    assert content, said
