"""What is true: a real engine whose samples reach into the future, asked before anything goes wrong.

The known samples of the tests are written for the whole campaign at once, so that the engine can say in advance what
every question will have for an answer at any moment of it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from gatewayz_metrics.catalogue import Catalogue, load
from gatewayz_metrics.promql.build import EXPORT_LABEL, Slots

from tests.support import samples

SELECTOR = 'env="production"'
# Seconds that an answer of the metrics routes may be old: their cache, a refresh that waits, a clock's rounding.
OLDEST = 30
# Rates are taken over whole windows, so they differ a little from moment to moment.
TOLERANCE = 0.01

RANGE_QUERIES = (
    f"sum by (status_class) (rate(fastapi_requests_total{{{SELECTOR}}}[5m]))",
    f"histogram_quantile(0.95, sum by (le) (rate(fastapi_requests_duration_seconds_bucket{{{SELECTOR}}}[5m])))",
    f"avg by (provider) (provider_availability{{{SELECTOR}}})",
    f"topk(3, model_inference_requests_total{{{SELECTOR}}})",
)
INSTANT_QUERIES = (
    f"sum by (provider) (rate(model_inference_requests_total{{{SELECTOR}}}[5m]))",
    f"count({{{SELECTOR}}})",
    "sum by (env) (gatewayz_providers_healthy)",
)
LABELS = ("env", "provider", "model")
STEP = samples.STEP

Key = tuple[tuple[str, str], ...]
Points = Mapping[int, str]


def write_samples(folder: Path, begin: int, seconds: int) -> Path:
    """The known series from `begin` (Unix seconds) on, as OpenMetrics text."""
    return samples.openmetrics(folder / "samples.om", start=begin, seconds=seconds)


@dataclass(frozen=True)
class Truth:
    """The engine's own answers for a span of Unix seconds."""

    begin: int
    end: int
    ranges: Mapping[str, Mapping[Key, Points]]
    instants: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]
    # Of each statistic, and of each sample of the text routes by name and labels: the values by second.
    statistics: Mapping[str, Mapping[int, float]]
    families: Mapping[tuple[str, Key], Mapping[int, float]]
    settled: int

    @classmethod
    def of(cls, url: str, begin: int, end: int, settled: int) -> "Truth":
        """Ask an engine. Instant queries are asked for one settled moment, the rest for the whole span."""
        with httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
            asked = _Asked(client, begin, end)
            catalogue = load()
            return cls(
                begin,
                end,
                {query: asked.matrix(query, STEP) for query in RANGE_QUERIES},
                {query: _canonical(asked.ask("query", query=query, time=settled)) for query in INSTANT_QUERIES},
                {label: tuple(asked.ask(f"label/{label}/values")) for label in LABELS},
                dict(_statistics(asked, catalogue)),
                dict(_families(asked, catalogue)),
                settled,
            )

    def find_wrong_instant(self, query: str, body: bytes) -> str:
        """What is wrong with an answer to an instant query at the settled moment; nothing when it is right."""
        return "" if _canonical(json.loads(body)["data"]) == self.instants[query] else "another vector"

    def find_wrong_list(self, label: str, body: bytes) -> str:
        """What is wrong with a list of label values."""
        return "" if tuple(json.loads(body)["data"]) == self.lists[label] else "another list"

    def find_wrong_range(self, query: str, first: int, last: int, body: bytes) -> str:
        """What is wrong with a matrix. Points may lack where a warning says so, and are never others."""
        envelope = json.loads(body)
        found = {
            _key(series["metric"]): {int(at): value for at, value in series["values"]}
            for series in envelope["data"]["result"]
        }
        for key, points in found.items():
            true = self.ranges[query].get(key, {})
            for at, value in points.items():
                if true.get(at) != value:
                    return f"{value} at {at} where {true.get(at)} is true"
        if envelope.get("warnings"):
            return ""
        for key, true in self.ranges[query].items():
            lacking = [at for at in true if first <= at <= last and at not in found.get(key, {})]
            if lacking:
                return f"{len(lacking)} points lack without a warning"
        return ""

    def find_wrong_summary(self, at: float, body: bytes) -> str:
        """What is wrong with a summary that arrived at a Unix time: a value that was never true lately."""
        answer = json.loads(body)
        told = "error" in answer or "errors" in answer
        for section, values in answer["metrics"].items():
            for name, text in values.items():
                true = _lately(self.statistics.get(f"{section}.{name}", {}), at)
                if text == "N/A":
                    if true and not told:
                        return f"{section}.{name} is N/A without a reason"
                elif not _is_near(float(text), true):
                    return f"{section}.{name} is {text} where {true[:3]} is true"
        return ""

    def find_wrong_page(self, at: float, body: bytes) -> str:
        """What is wrong with a page of exposition text that arrived at a Unix time."""
        for line in body.decode().splitlines():
            if line and not line.startswith("#"):
                name, labels, value = _sample(line)
                true = _lately(self.families.get((name, labels), {}), at)
                if not _is_near(value, true):
                    return f"{line} where {true[:3]} is true"
        return ""


@dataclass(frozen=True)
class _Asked:
    client: httpx.Client
    begin: int
    end: int

    def ask(self, path: str, **parameters: str | int) -> Any:
        answer = self.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def matrix(self, query: str, step: int) -> dict[Key, dict[int, str]]:
        found = self.ask("query_range", query=query, start=self.begin, end=self.end, step=step)
        return {_key(series["metric"]): {int(at): text for at, text in series["values"]} for series in found["result"]}


def _statistics(asked: _Asked, catalogue: Catalogue) -> Iterator[tuple[str, dict[int, float]]]:
    slots = Slots(SELECTOR, catalogue.window)
    for statistic in catalogue.statistics:
        for template in (statistic.expr, *statistic.fallbacks):
            for points in asked.matrix(slots.fill(template), 5).values():
                yield statistic.name, {at: float(text) for at, text in points.items()}
                break
            else:
                continue
            break


def _families(asked: _Asked, catalogue: Catalogue) -> Iterator[tuple[tuple[str, Key], dict[int, float]]]:
    slots = Slots(SELECTOR, catalogue.window)
    for family in catalogue.families:
        for term in family.terms:
            for key, points in asked.matrix(slots.fill(term.template), STEP).items():
                yield (term.sample, key), {at: float(text) for at, text in points.items()}


def _lately(points: Mapping[int, float], at: float) -> list[float]:
    return [value for second, value in points.items() if at - OLDEST - STEP <= second <= at + STEP]


def _is_near(value: float, true: list[float]) -> bool:
    slack = TOLERANCE * max((abs(each) for each in true), default=0.0) + 0.01
    return bool(true) and min(true) - slack <= value <= max(true) + slack


def _canonical(data: Any) -> str:
    return json.dumps(sorted(data["result"], key=lambda series: sorted(series["metric"].items())), sort_keys=True)


def _key(labels: Mapping[str, str]) -> Key:
    return tuple(sorted((name, text) for name, text in labels.items() if name not in ("__name__", EXPORT_LABEL)))


_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def _sample(line: str) -> tuple[str, Key, float]:
    matched = _SAMPLE.match(line)
    assert matched, line
    name, labels, value = matched.groups()
    pairs = {label: json.loads(f'"{text}"') for label, text in _LABEL.findall(labels or "")}
    return name, _key(pairs), float(value)
