"""What a state timeline shows through an outage, by Prometheus' own engine."""

import json
from pathlib import Path

import pytest

from tests.dashboards import reading
from tests.dashboards.reading import Document
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
    assert_answer(tmp_path, SERIES, expected)


@pytest.mark.parametrize(
    ("uid", "labels"),
    [("gw-service", '{instance="not scraped"}'), ("gw-providers", '{provider="nothing tells"}')],
)
def test_where_nothing_ever_told_a_row_says_so(uid: str, labels: str, tmp_path: Path) -> None:
    """Of an answer without series this panel says "Data does not have a time field", whatever it has for no value."""
    (query,) = next(p for p in reading.panels(reading.board(uid)) if p["type"] == "state-timeline")["targets"]
    samples = [{"labels": labels, "value": -2}]

    assert_answer(tmp_path, {}, {"expr": reading.filled(query["expr"]), "eval_time": "6m", "exp_samples": samples})


def assert_answer(folder: Path, found: dict[str, str], expected: Document) -> None:
    """That Prometheus answers an expression over these series as expected."""
    series = [{"series": name, "values": values} for name, values in found.items()]
    tests = [{"interval": "15s", "input_series": series, "promql_expr_test": [expected]}]
    file = folder / "states.test.yml"
    # promtool loads samples as far as it evaluates rules: by default to the whole minute.
    file.write_text(json.dumps({"evaluation_interval": "15s", "tests": tests}), encoding="utf-8")

    content, said = promtool("test", "rules", file)

    assert content, said
