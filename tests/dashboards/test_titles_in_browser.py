"""The grid of every board as boxes in a browser: no title is longer than its panel. Skipped without Chromium."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.dashboards import reading
from tests.dashboards.reading import Document
from tests.dashboards.test_lint_boards import PANELS

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Grafana at 1600 pixels with its menu open: 1268 for 24 columns with gaps of 8; a header leaves 74 to icons and space.
COLUMN, GAP, ICON = (1268 + 8) / 24, 8, 74
STYLE = "b{display:block;overflow:hidden;white-space:nowrap;font:500 14px Inter,Helvetica,Arial,sans-serif}"
SCRIPT = """
for (const b of document.querySelectorAll('b'))
  if (b.scrollWidth > b.clientWidth) document.body.append('TOO LONG[' + b.textContent + ']');
"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")


def box(title: str, width: int) -> str:
    return f'<b style="width:{width * COLUMN - GAP - ICON:.0f}px">{html.escape(title)}</b>'


def too_long(folder: Path, *boxes: str) -> list[str]:
    page = folder / "boxes.html"
    text = f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{''.join(boxes)}<script>{SCRIPT}</script>"
    page.write_text(text, encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    run = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True)
    assert run.stdout.count("<b style") == len(boxes), "the page was drawn"
    return re.findall(r"TOO LONG\[(.*?)\]", run.stdout.split("</script>")[-1])


def test_no_title_is_longer_than_its_panel(tmp_path: Path) -> None:
    panels: list[Document] = [panel for *_, panel in PANELS if panel["title"] != "$provider"]
    assert len(panels) > len(list(reading.panels(reading.board("gw-service"))))

    assert too_long(tmp_path, *(box(panel["title"], panel["gridPos"]["w"]) for panel in panels)) == []


def test_the_browser_finds_one_that_is(tmp_path: Path) -> None:
    assert too_long(tmp_path, box("Average inference latency", 4), box("Error rate", 4)) == [
        "Average inference latency"
    ]
