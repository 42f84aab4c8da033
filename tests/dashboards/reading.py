"""Generated dashboards as tests read them: panels, targets, variables, links, filled-in expressions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

from dashboards.generate import Provisioning
from tests.dashboards.catalogues import made

Document = dict[str, Any]

BUILTINS = {
    "__rate_interval": "1m",
    "__range": "1h",
    "__interval": "15s",
    "interval": "1m",
}
# Pixels of a column of the grid and of the gap between two, on a screen of 1600 with Grafana's menu open.
COLUMN, GAP = (1268 + 8) / 24, 8
SCRAPE_INTERVAL = 15
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# The widths that Grafana rounds a step to: up to the first number of seconds it is the second.
_STEPS = (
    (20, 15),
    (25, 20),
    (45, 30),
    (90, 60),
    (210, 120),
    (450, 300),
    (750, 600),
    (1050, 900),
    (1500, 1200),
    (2700, 1800),
    (5400, 3600),
    (9000, 7200),
)
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")
_QUERY_RESULT = re.compile(r"query_result\((.+)\)")


@dataclass(frozen=True)
class PanelTarget:
    """A query of a panel, with where it stands."""

    board: str
    panel: Document
    query: Document

    @property
    def kind(self) -> str:
        return str(self.panel["datasource"]["type"])

    @property
    def place(self) -> str:
        return f"{self.board}: {self.panel['title']} {self.query['refId']}"


def boards() -> list[Document]:
    """Those of the built-in catalogue."""
    return made().documents


def board(uid: str, among: Provisioning | None = None) -> Document:
    return next(each for each in (among or made()).documents if each["uid"] == uid)


def uids() -> list[str]:
    return [each["uid"] for each in boards()]


def panels(document: Document) -> Iterator[Document]:
    """Every panel that shows something."""
    for panel in document["panels"]:
        assert panel.get("panels", []) == [], "a collapsed row hides panels from these tests"
        if panel["type"] != "row":
            yield panel


def targets(document: Document, kind: str = "") -> Iterator[PanelTarget]:
    for panel in panels(document):
        for query in panel.get("targets", []):
            found = PanelTarget(document["uid"], panel, query)
            if kind in ("", found.kind):
                yield found


def expressions(document: Document) -> dict[str, str]:
    """The PromQL of a dashboard's panels, variables and annotations, by where it stands."""
    uid = document["uid"]
    return {
        **{target.place: target.query["expr"] for target in targets(document, "prometheus")},
        **{f"{uid}: ${v['name']}": asked_by(v) for v in variables(document) if v["type"] == "query"},
        **{f"{uid}: {annotation['name']}": annotation["expr"] for annotation in document["annotations"]["list"]},
    }


def variables(document: Document) -> list[Document]:
    found: list[Document] = document["templating"]["list"]
    return found


def asked_by(variable: Document) -> str:
    """The selector of a list of label values, or the expression whose series it is a list of."""
    found = _QUERY_RESULT.fullmatch(variable["query"]["query"])
    return found[1] if found else label_values(variable)[0]


def is_of_labels(variable: Document) -> bool:
    """Whether its values are those of a label, whatever their series are worth."""
    return variable["type"] == "query" and bool(_LABEL_VALUES.fullmatch(variable["query"]["query"]))


def label_values(variable: Document) -> tuple[str, str]:
    """The selector and the label of a query variable."""
    match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
    assert match, variable["query"]
    return match[1], match[2]


def links(panel: Document) -> Iterator[Document]:
    config = panel.get("fieldConfig", {})
    yield from config.get("defaults", {}).get("links", [])
    for override in config.get("overrides", []):
        for each in override["properties"]:
            if each["id"] == "links":
                yield from each["value"]


def seconds(duration: str) -> int:
    """A duration of one number and one unit, such as `30d`."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def default_range(document: Document) -> int:
    """The seconds that a board shows when it is opened."""
    return seconds(document["time"]["from"].removeprefix("now-"))


def step(panel: Document, span: float) -> int:
    """The seconds between two points that Grafana asks for: a point per pixel, no closer than the panel allows."""
    wanted = span / panel.get("maxDataPoints", panel["gridPos"]["w"] * COLUMN - GAP)
    rounded = next((found for limit, found in _STEPS if wanted <= limit), 10_800)
    least = panel.get("interval") or f"{SCRAPE_INTERVAL}s"
    # A board's own variable for it is an automatic one, which has no more than thirty points.
    return max(rounded, round(span / 30) if least.startswith("$") else seconds(least), SCRAPE_INTERVAL)


def macros(panel: Document, span: float) -> dict[str, str]:
    """What Grafana puts in place of its own variables in the queries of a panel."""
    width = step(panel, span)
    return {
        "interval": f"{width}s",
        "__interval": f"{width}s",
        "__rate_interval": f"{max(width + SCRAPE_INTERVAL, 4 * SCRAPE_INTERVAL)}s",
        "__range": f"{span:.0f}s",
    }


def annotation_macros(span: float) -> dict[str, str]:
    """The same for annotations: Grafana asks for a hundred points, no closer than a minute."""
    return macros({"gridPos": {"w": 24}, "maxDataPoints": 100, "interval": "60s"}, span)


def used_variables(text: str) -> set[str]:
    return {name for name in _VARIABLE.findall(text) if not name.startswith("__")}


def filled(promql: str, **values: str) -> str:
    """The expression with every variable and macro in place; a label without a value matches all."""
    chosen = BUILTINS | values
    return _VARIABLE.sub(lambda name: chosen.get(name[1], ".+"), promql)


@dataclass(frozen=True)
class Node:
    """A node of a parsed expression and what it stands in."""

    expr: Any
    parents: tuple[Any, ...]

    @property
    def function(self) -> str:
        """The name of the function directly around it."""
        parent = self.parents[-1] if self.parents else None
        return parent.func.name if isinstance(parent, promql_parser.Call) else ""


def walk(expr: Any, parents: tuple[Any, ...] = ()) -> Iterator[Node]:
    yield Node(expr, parents)
    for child in _children(expr):
        yield from walk(child, (*parents, expr))


def parsed(promql: str) -> list[Node]:
    return list(walk(promql_parser.parse(filled(promql))))


def selectors(promql: str) -> list[Node]:
    return [node for node in parsed(promql) if isinstance(node.expr, promql_parser.VectorSelector)]


def matchers(selector: Any) -> dict[str, str]:
    return {m.name: m.value for m in selector.matchers.matchers}


def _children(expr: Any) -> list[Any]:
    if isinstance(expr, promql_parser.BinaryExpr):
        return [expr.lhs, expr.rhs]
    if isinstance(expr, promql_parser.Call):
        return list(expr.args)
    if isinstance(expr, promql_parser.MatrixSelector):
        return [expr.vector_selector]
    return [expr.expr] if hasattr(expr, "expr") else []
