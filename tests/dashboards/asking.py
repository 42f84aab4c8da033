"""What dashboards and alerts ask, asked of the service."""

import json
import re
from typing import Any

from dashboards.alerting import Alert
from tests.dashboards import reading
from tests.dashboards.conftest import Stage
from tests.dashboards.reading import Document, PanelTarget


def row_of(stage: Stage, target: PanelTarget) -> Document:
    """What Infinity makes a row of: the document below the root selector."""
    params = {each["key"]: each["value"] for each in target.query["url_options"]["params"]}
    answer = stage.client.get(target.query["url"], params=params)
    assert answer.status_code == 200, answer.text
    found: Document = answer.json()
    selector = target.query["root_selector"]
    if merged := re.fullmatch(r"\$merge\(\[(\{.*\}), \$\]\)", selector):
        # JSONata: what is in the document wins.
        return {**json.loads(merged[1]), **found}
    for step in filter(None, selector.split(".")):
        found = found[step]
    return found


def answer_to(stage: Stage, target: PanelTarget, values: dict[str, str]) -> list[Document]:
    macros, step, seconds = {}, 15, 1800
    if stage.has_ranges:
        seconds = reading.default_range(reading.board(target.board))
        macros, step = reading.macros(target.panel, seconds), reading.step(target.panel, seconds)
    promql = reading.filled(target.query["expr"], **macros, **values)
    return instant(stage, promql) if target.query.get("instant") else over_time(stage, promql, seconds, step)


def instant(stage: Stage, promql: str) -> list[Document]:
    return _answer(stage, "query", {"query": promql, "time": stage.now})


def over_time(stage: Stage, promql: str, seconds: float = 1800, step: int = 15) -> list[Document]:
    ends = span(stage, seconds)
    if stage.has_ranges:
        # As Grafana does. Where there are a few seconds of the service alone, it would leave them out.
        ends = {name: moment // step * step for name, moment in ends.items()}
    return _answer(stage, "query_range", {"query": promql, "step": step, **ends})


def span(stage: Stage, seconds: float = 1800) -> dict[str, float]:
    return {"start": stage.now - seconds, "end": stage.now}


def _answer(stage: Stage, path: str, form: dict[str, Any]) -> list[Document]:
    answer = stage.client.post(f"/api/v1/{path}", data=form)
    assert answer.status_code == 200, f"{form['query']}: {answer.text}"
    found: list[Document] = answer.json()["data"]["result"]
    return found


def values_of(result: list[Document]) -> list[float]:
    return [float(value) for series in result for _, value in series.get("values", [series.get("value")])]


def fires(alert: Alert, value: float) -> bool:
    return value > alert.threshold if alert.operator == ">" else value < alert.threshold
