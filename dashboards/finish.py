"""The last step before the file: what Grafana needs and the SDK leaves out, and bytes that stay the same."""

import json
from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import theme

Document = dict[str, Any]

_WIDTH = 24
_DATA_LINK = ("title", "url", "targetBlank")
_INTERVAL_ONLY = ("auto", "auto_min", "auto_count")
_LAST_ID = 999_983


def finished(dashboard: Dashboard) -> Document:
    """The dashboard as Grafana reads it."""
    document: Document = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    panels: list[Document] = document["panels"]
    document["id"] = None
    document["annotations"].setdefault("list", [])
    document["templating"]["list"] = [_variable(each) for each in document["templating"].get("list", [])]
    _place(panels)
    _number(panels)
    for panel in panels:
        if panel["type"] != "row":
            _complete(panel)
    return document


def text_of(document: Document) -> str:
    """The document as text, the same for the same content."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def panel_id(title: str) -> int:
    """A panel's id follows from its title: links and alert rules keep theirs when another panel comes in between."""
    return crc32(title.encode()) % _LAST_ID + 1


def _number(panels: Iterable[Document]) -> None:
    taken: dict[int, str] = {}
    for panel in panels:
        name = f"{panel['type']}: {panel['title']}" if panel["type"] == "row" else panel["title"]
        panel["id"] = panel_id(name)
        if panel["id"] in taken:
            raise ValueError(f"{name!r} and {taken[panel['id']]!r} would share an id; give one another title.")
        taken[panel["id"]] = name


def _place(panels: Iterable[Document]) -> None:
    """From left to right, a new line before what does not fit."""
    x = y = tallest = 0
    for panel in panels:
        width, height = (_WIDTH, 1) if panel["type"] == "row" else (panel["gridPos"]["w"], panel["gridPos"]["h"])
        if x + width > _WIDTH:
            x, y, tallest = 0, y + tallest, 0
        panel["gridPos"] = {"x": x, "y": y, "w": width, "h": height}
        x, tallest = x + width, max(tallest, height)


def _complete(panel: Document) -> None:
    # Without a version, stat and gauge panels run every migration since Grafana 6.
    panel["pluginVersion"] = theme.PLUGIN_VERSION
    for letter, target in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", panel.get("targets", []), strict=False):
        target["refId"] = letter
    if panel["type"] == "table":
        # Off by default, and gone from newer versions.
        panel["options"].pop("footer", None)
    for links in _links(panel):
        links[:] = [{key: link[key] for key in _DATA_LINK if key in link} for link in links]


def _links(panel: Document) -> Iterator[list[Document]]:
    """The data links of a panel; the SDK writes them as if they were links of a dashboard."""
    config: Document = panel.get("fieldConfig", {})
    yield config.get("defaults", {}).get("links", [])
    for override in config.get("overrides", []):
        yield from (each["value"] for each in override["properties"] if each["id"] == "links")


def _variable(variable: Document) -> Document:
    if variable["type"] == "interval":
        return variable
    return {key: value for key, value in variable.items() if key not in _INTERVAL_ONLY}
