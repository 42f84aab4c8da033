"""Every measurement still runs, over deployments too small to say anything."""

import pytest

from tests.bench.__main__ import run
from tests.bench.bench import SMOKE, Bench
from tests.bench.goals import GOALS
from tests.bench.report import print_table, render_figures


def test_a_measurement_runs() -> None:
    with Bench(SMOKE) as bench:
        results = run(bench, only="wide_range")

    assert not bench.failures
    assert [figure.key for figure in results.figures] == ["wide_partial"]
    assert results.figures[0].ours > 0


@pytest.mark.nightly
def test_everything_runs() -> None:
    with Bench(SMOKE) as bench:
        results = run(bench)
    print_table(results)

    assert not bench.failures
    assert [figure.key for figure in results.figures] == list(GOALS)
    assert list(render_figures(results))
