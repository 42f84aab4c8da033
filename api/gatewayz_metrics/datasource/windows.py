"""Windows that hold no two scrapes: the commonest reason why a panel stays empty."""

from collections.abc import Iterable, Iterator

from gatewayz_metrics.datasource.targets import Ask
from gatewayz_metrics.promql.lexer import Kind, lex
from gatewayz_metrics.promql.values import duration, milliseconds


def too_short(asks: Iterable[Ask], scrape_ms: int) -> list[str]:
    """A sentence for each window that is shorter than the time between two scrapes.

    Grafana replaces `$__interval` before it asks, so `rate(x[$__interval])` arrives as `rate(x[5s])`.
    """
    windows = dict.fromkeys(text for ask in asks for text in _windows(ask.promql) if milliseconds(text) < 2 * scrape_ms)
    return [
        f"[{text}] is too short for scrapes every {duration(scrape_ms)}, so nothing is found in it; "
        "write [$__rate_interval], or set the panel's Min interval."
        for text in windows
    ]


def _windows(promql: str) -> Iterator[str]:
    solid = [token for token in lex(promql) if not token.is_blank]
    for before, token, after in zip(solid, solid[1:], solid[2:], strict=False):
        if before.text == "[" and token.kind is Kind.DURATION and after.text == "]":
            yield token.text
