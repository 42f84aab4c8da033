"""What the gateway promises, how much of it is kept, and how fast the rest is used up."""

from dashboards import theme
from dashboards.expressions import RANGE, TRAFFIC, Expression, Selection

FAILED = 'status_code=~"5.."'


def error_share(source: Selection, window: str, by: tuple[str, ...] = ()) -> Expression:
    """The share of requests answered with a 5xx."""
    return source.share(source.where(FAILED), TRAFFIC, by, window)


def availability(source: Selection) -> Expression:
    """The share of requests that did not fail."""
    return (
        error_share(source, RANGE)
        .scaled("1 - {}", "percentunit")
        .meaning("Share of requests that did not fail with a 5xx.")
    )


def budget_left(source: Selection) -> Expression:
    """What is left of the errors that the promise allows."""
    left = error_share(source, theme.OBJECTIVE_DAYS).scaled(f"1 - {{}} / {theme.BUDGET}", "percentunit")
    return left.meaning("What is left of the failures that the objective allows; below zero it is missed.")


def burn_rate(source: Selection, window: str, by: tuple[str, ...] = ()) -> Expression:
    """How many times faster than allowed errors come in; 1 uses the budget up just at its end."""
    burnt = error_share(source, window, by).scaled(f"{{}} / {theme.BUDGET}", "none")
    return burnt.meaning("Failed requests against those that the objective allows: 1 uses the budget up at its end.")
