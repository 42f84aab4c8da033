"""What people see of missing scrapes: a mark on every graph where they are missing, and a word beside the numbers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gatewayz_demo import processes

from dashboards.queries import PROMETHEUS_UID
from tests.dashboards import reading
from tests.dashboards.test_lint_boards import BOARDS, each_board
from tests.dashboards.test_states import assert_answer
from tests.support import samples
from tests.support.engine import Engine
from tests.support.samples import STEP, Series, flat, steady

# Prometheus was away for four minutes, half an hour after the begin; a gateway of two requests a second.
BEGIN = samples.START
GAP = (BEGIN + 1800, BEGIN + 2040)
END = BEGIN + 3600
RATE = 2.0
# The ranges of boards that the hour fits into, and one of an hour.
SPANS = [3600, 10_800, 21_600]
COUNTS = "sum(rate(fastapi_requests_total[{window}]))"


def gateway(since: int) -> list[Series]:
    """From so many seconds after the begin on."""
    labels = {"job": "gateway", "instance": "a:8000"}
    counted = {**labels, "env": "production", "app_name": "gatewayz", "path": "/", "status_code": "200"}
    return [
        Series("fastapi_requests_total", counted, steady(RATE, RATE * since)),
        Series("up", labels, flat(1)),
    ]


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    data = tmp_path_factory.mktemp("gapped")
    for start, end in ((BEGIN, GAP[0]), (GAP[1], END)):
        text = samples.openmetrics(
            data / f"{start}.om", start=start, seconds=end - start, found=gateway(since=start - BEGIN)
        )
        processes.backfill(text, data / "tsdb")
    with processes.start_prometheus(data / "tsdb") as engine:
        yield Engine("prometheus", engine.url)


def expression(uid: str) -> str:
    (found,) = [each["expr"] for each in reading.board(uid)["annotations"]["list"] if each["name"] == "Scrapes missing"]
    return str(found)


def marked(engine: Engine, promql: str, span: int) -> list[tuple[float, float]]:
    """The regions that Grafana makes of an annotation: the points with a value, joined where they are a step apart."""
    macros = reading.annotation_macros(span)
    step = reading.seconds(macros["__interval"])
    asked = reading.filled(promql, **macros, env="production", app="gatewayz")
    first = -(-BEGIN // step) * step + step * 2  # the windows of these points lie within the data
    found: list[tuple[float, float]] = []
    for moment in range(first, END - step, step):
        if engine.vector(asked, moment):
            joined = bool(found) and moment - found[-1][1] <= step
            found[-1:] = [(found[-1][0], moment)] if joined else [*found[-1:], (moment, moment)]
    return found


@pytest.mark.parametrize("span", SPANS)
def test_a_gap_is_one_region_from_its_begin_to_its_end(gapped: Engine, span: int) -> None:
    macros = reading.annotation_macros(span)
    (region,) = marked(gapped, expression("gw-overview"), span)

    window = reading.seconds(macros["__rate_interval"])
    assert GAP[0] <= region[0] <= GAP[0] + window
    assert GAP[1] - window <= region[1] <= GAP[1] + window
    assert region[1] >= GAP[0]


def test_every_rate_that_shows_less_lies_in_the_region(gapped: Engine) -> None:
    """At the resolution of a graph of an hour: each point whose window reaches into the gap, and those without any."""
    span = 3600
    window = reading.annotation_macros(span)["__rate_interval"]
    (region,) = marked(gapped, expression("gw-overview"), span)
    wrong = [
        moment
        for moment in range(BEGIN + 300, END, STEP)
        if float(gapped.value(COUNTS.format(window=window), moment) or 0) < 0.8 * RATE
    ]

    assert any(moment >= GAP[1] for moment in wrong), "a number after the gap that is too small"
    step = reading.seconds(reading.annotation_macros(span)["__interval"])
    outside = [moment - BEGIN for moment in wrong if not region[0] - step < moment < region[1] + step]
    assert outside == [], (region[0] - BEGIN, region[1] - BEGIN)


def test_without_a_gap_nothing_is_marked(prometheus: Engine) -> None:
    assert [marked(prometheus, expression("gw-overview"), span) for span in SPANS] == [[], [], []]


@each_board
def test_every_board_with_graphs_has_the_mark(board: reading.Document) -> None:
    """Of what it draws: the service's own board those of the service's own scrapes."""
    found = [each for each in board["annotations"]["list"] if each["name"] == "Scrapes missing"]
    drawn = [panel for panel in reading.panels(board) if panel["type"] == "timeseries"]

    assert len(found) == bool(drawn)
    for each in found:
        assert each["datasource"]["uid"] == "${datasource}"
        assert ("gatewayz_metrics_upstream_up" in each["expr"]) == (board["uid"] == "gw-service")
        # In grey: it is neither good nor bad.
        assert (each["enable"], each["hide"], each["iconColor"]) == (True, True, "#8e8e8e")
        assert "show less than there was" in each["textFormat"]
        assert each["titleFormat"] == each["name"]


def test_the_mark_asks_what_was_chosen() -> None:
    assert {uid: "$env" in expression(uid) for uid in reading.uids()} == {
        uid: uid != "gw-service" for uid in reading.uids()
    }
    assert PROMETHEUS_UID
    assert len(BOARDS) > len(reading.uids())


# What the scrapes of each target were like, a value every 15 seconds.
COUNTER = 'fastapi_requests_total{{job="g",instance="{}",env="p"}}'
UP = 'up{{job="g",instance="{}"}}'
A, B = (COUNTER.format("a"), UP.format("a")), (COUNTER.format("b"), UP.format("b"))
FAILING = {
    "every scrape fails": ({A[0]: "0+30x20 stale _x39 0+30x20", A[1]: "1x20 0x40 1x20"}, "8m", True),
    "one of two targets fails": (
        {A[0]: "0+30x80", A[1]: "1x80", B[0]: "0+30x20 stale _x39 0+30x20", B[1]: "1x20 0x40 1x20"},
        "6m",
        True,
    ),
    "one scrape fails": ({A[0]: "0+30x20 stale 630+30x60", A[1]: "1x20 0 1x60"}, "5m45s", False),
    "all is well": ({A[0]: "0+30x80", A[1]: "1x80"}, "8m", False),
    "it is scraped half as often": ({A[0]: " ".join(["1 _"] * 40), A[1]: " ".join(["1 _"] * 40)}, "5m20s", False),
    "a new target comes": ({A[0]: "0+30x80", A[1]: "1x80", B[0]: "_x20 0+30x60", B[1]: "_x20 1x60"}, "5m30s", False),
    "nothing writes up": ({A[0]: "0+30x80"}, "8m", False),
    "nothing was ever scraped": ({}, "8m", True),
}


@pytest.mark.parametrize("case", FAILING.values(), ids=FAILING)
def test_failed_scrapes_are_missing_ones(case: tuple[dict[str, str], str, bool], tmp_path: Path) -> None:
    series, moment, is_marked = case
    promql = reading.filled(expression("gw-overview"), **reading.annotation_macros(3600))
    found = [{"labels": "{}", "value": 1}] if is_marked else []

    assert_answer(tmp_path, series, {"expr": promql, "eval_time": moment, "exp_samples": found})


# Beside the numbers, whose window is five minutes.
WORDS = {
    GAP[0] - 60: "complete",
    GAP[0] + 60: "complete",
    GAP[0] + 120: "missing",
    GAP[1] + 30: "complete",
    GAP[1] + 75: "missing",
    GAP[1] + 120: "missing",
    GAP[1] + 300: "complete",
    BEGIN - 600: "none",
}


@pytest.mark.parametrize(("moment", "word"), WORDS.items())
def test_beside_the_numbers_a_word_tells(gapped: Engine, moment: int, word: str) -> None:
    panels = {panel["title"]: panel for panel in reading.panels(reading.board("gw-overview"))}
    (query,) = panels["Scrapes"]["targets"]
    mappings = panels["Scrapes"]["fieldConfig"]["defaults"]["mappings"]
    texts = {key: each for m in mappings if m["type"] == "value" for key, each in m["options"].items()}
    value = gapped.value(reading.filled(query["expr"], env="production", app="gatewayz"), moment)
    asked = "60 * sum(rate(fastapi_requests_total[5m]))"

    assert value is not None
    assert texts[value]["text"] == word
    assert texts[value]["color"] == {"complete": "text", "missing": "orange", "none": "red"}[word]
    if word == "complete":
        # The number beside is right, or nearly.
        assert float(gapped.value(asked, moment) or 0) == pytest.approx(60 * RATE, rel=0.3)
    elif word == "missing":
        assert float(gapped.value(asked, moment) or 0) < 60 * RATE
    assert panels["Scrapes"]["gridPos"]["y"] == panels["Requests a minute"]["gridPos"]["y"]
