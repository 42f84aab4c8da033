"""docs/performance.md and its pictures are what `make bench` wrote."""

import pytest

from tests.bench.figures import Figure, Results
from tests.bench.goals import GOALS
from tests.bench.plots import draw
from tests.bench.report import IMAGES, KEPT, PAGE, with_results

RESULTS = Results.from_json(KEPT.read_text("utf-8"))


def test_the_page_has_the_kept_results() -> None:
    text = PAGE.read_text("utf-8")

    assert with_results(text, RESULTS) == text


def test_the_pictures_show_the_kept_results() -> None:
    assert {file.name: file.read_text("utf-8") for file in IMAGES.glob("growth-*.svg")} == draw(RESULTS)


def test_every_goal_has_a_figure_of_a_full_run() -> None:
    assert [figure.key for figure in RESULTS.figures] == list(GOALS)
    assert RESULTS.form == "full"


def test_results_survive_being_written() -> None:
    assert Results.from_json(RESULTS.to_json()) == RESULTS


@pytest.mark.parametrize(
    ("key", "ratio", "reached"),
    [
        ("cold_all", 1.1, "moonshot"),
        ("cold_all", 1.3, "must"),
        ("cold_all", 1.6, "no"),
        ("warm_summary", 3.4, "moonshot"),
        ("warm_summary", 2.5, "must"),
        ("warm_summary", 2.4, "no"),
        ("old_all", 9.0, ""),
    ],
)
def test_a_ratio_is_judged(key: str, ratio: float, reached: str) -> None:
    assert Figure(key, 1, 1, ratio).reached == reached


def test_our_own_figure_is_judged_where_the_goal_is_for_it() -> None:
    assert Figure("memory", 199, 10, 19.9).reached == "must"


def test_nothing_is_said_against_another_yardstick_than_the_goals() -> None:
    assert Figure("distinct_rate", 10, 1, 10, is_judged=False).reached == ""
    assert Figure("distinct_rate", 10).reached == ""
