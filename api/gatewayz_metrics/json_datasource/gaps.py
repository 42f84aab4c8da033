"""Whether what grows was scraped all along: rates over a gap of scrapes show less than there was, and look as ever."""

from collections.abc import Iterator
from dataclasses import dataclass

from gatewayz_metrics.catalogue.scrape_gaps import BEGUN, STOPPED, find_edge, find_growing, tell_ends
from gatewayz_metrics.json_datasource.packed import PackedSeries
from gatewayz_metrics.promql.build import PART_LABEL, Slots, batch, selector
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.times import format_rfc3339, parse_literal_ms


@dataclass(frozen=True, slots=True)
class GapQuestion:
    """An expression that tells, for each point of a target, at which ends of its window its metrics have samples."""

    query: QueryText
    window: str

    def explain(self, found: PackedSeries) -> Iterator[str]:
        """Which points lack something, a sentence for people per metric of which some do."""
        for one in found:
            metric = one.labels.get(PART_LABEL)
            times = [time for time, value in zip(one.times, one.values, strict=True) if value in (STOPPED, BEGUN)]
            if not times or metric is None:
                continue
            first, last = format_rfc3339(times[0]), format_rfc3339(times[-1])
            when = f"at {first}" if first == last else f"for {len(times):,} points from {first} to {last}"
            yield (
                f"{metric} has samples at one end alone of the {self.window} window {when}: "
                "scrapes are missing, or it is new. What is shown there is less than there was."
            )


def find_gap_question(template: str, slots: Slots, scrape_seconds: float) -> GapQuestion | None:
    """What to ask beside an expression; None where it shows no growth, or its window is too short to have two ends.

    It asks about the whole metric of the deployment: what a filter leaves may come and go without any gap.
    """
    window_ms = parse_literal_ms(slots.window)
    edge_ms = find_edge(window_ms, scrape_seconds)
    growing = find_growing(template)
    if edge_ms is None or not growing:
        return None
    parts = [(metric, slots.fill(tell_ends(selector(metric), window_ms, edge_ms))) for metric in growing]
    return GapQuestion(QueryText(batch(parts)), slots.window)
