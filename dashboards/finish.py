"""The last step before the file: what Grafana needs and the SDK leaves out, and bytes that stay the same."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any
from zlib import crc32

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import theme

Document = dict[str, Any]

_DATA_LINK = ("title", "url", "targetBlank")
_INTERVAL_ONLY = ("auto", "auto_min", "auto_count")
_KEPT_VARIABLE = re.compile(r"&\$\{(\w+):queryparam\}")
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
    names: set[str] = set()
    taken: set[int] = set()
    for panel in panels:
        name = f"{panel['type']}: {panel['title']}" if panel["type"] == "row" else panel["title"]
        if name in names:
            raise ValueError(f"Two panels called {name!r} would share an id; give one another title.")
        number = panel_id(name)
        while number in taken:  # two titles of one checksum: rare, but a catalogue cannot choose its titles
            number += 1
        panel["id"] = number
        names.add(name)
        taken.add(number)


def _place(panels: Iterable[Document]) -> None:
    """From left to right, a new line before what does not fit."""
    x = y = tallest = 0
    for panel in panels:
        width, height = (theme.GRID, 1) if panel["type"] == "row" else (panel["gridPos"]["w"], panel["gridPos"]["h"])
        if x + width > theme.GRID:
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
    for links in data_links(panel):
        links[:] = [{key: link[key] for key in _DATA_LINK if key in link} for link in links]


def data_links(panel: Document) -> Iterator[list[Document]]:
    """The lists of data links of a panel; the SDK writes them as if they were links of a dashboard."""
    config: Document = panel.get("fieldConfig", {})
    yield config.get("defaults", {}).get("links", [])
    for override in config.get("overrides", []):
        yield from (each["value"] for each in override["properties"] if each["id"] == "links")


def _variable(variable: Document) -> Document:
    if variable["type"] == "interval":
        return variable
    return {key: value for key, value in variable.items() if key not in _INTERVAL_ONLY}


def keep_links_to(uids: Collection[str], documents: Iterable[Document]) -> None:
    """Takes out data links to other boards than these, and what a board without the variable would send along."""
    for document in documents:
        variables = {variable["name"] for variable in document["templating"]["list"]}
        for panel in document["panels"]:
            for links in data_links(panel):
                links[:] = [_with_known(link, variables) for link in links if _target(link) in uids]


def _target(link: Document) -> str:
    return str(link["url"]).partition("?")[0].removeprefix("/d/")


def _with_known(link: Document, variables: Collection[str]) -> Document:
    url = _KEPT_VARIABLE.sub(lambda kept: kept[0] if kept[1] in variables else "", link["url"])
    return link | {"url": url}


def find_panel(uid: str, title: str, documents: Iterable[Document]) -> Document | None:
    """A panel by its board and its title."""
    panels = (panel for document in documents if document["uid"] == uid for panel in document["panels"])
    return next((panel for panel in panels if panel["title"] == title), None)


def find_reader(metric: str, documents: Sequence[Document]) -> tuple[Document, Document] | None:
    """The first board and panel of lines that read a metric; where nothing draws lines, any panel."""
    read = re.compile(rf"(?<![\w:]){re.escape(metric)}\{{")
    found = [
        (document, panel)
        for document in documents
        for panel in document["panels"]
        if any(read.search(target.get("expr", "")) for target in panel.get("targets", []))
    ]
    return min(found, key=lambda place: place[1]["type"] != "timeseries", default=None)
