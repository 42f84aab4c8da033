"""The dashboards against Grafana's own types, of the version we target and of the newest; skipped without Node."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dashboards import reading
from tests.dashboards.catalogues import checked
from tests.dashboards.reading import Document
from tests.support import npm

TYPESCRIPT = "typescript@5.7"
# The schema that Grafana turns a classic dashboard into; of it, fields are as they were.
V2 = "@grafana/schema/apis/dashboard.grafana.app/v2"
CONFIG = {
    "compilerOptions": {
        "module": "esnext",
        "moduleResolution": "bundler",
        "noEmit": True,
        "skipLibCheck": True,
        "strict": True,
        "target": "es2022",
        "types": [],
    },
    "files": ["dashboards.ts"],
}
# Enumerations of text are no literals to TypeScript: this turns each into the texts that it allows.
AS_JSON = """
type J<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? J<U>[] : T extends object ? { [K in keyof T]: J<T[K]> } : T;
"""
NAMES = {
    "barchart": "BarChart",
    "bargauge": "BarGauge",
    "gauge": "Gauge",
    "heatmap": "Heatmap",
    "piechart": "PieChart",
    "stat": "Stat",
    "state-timeline": "StateTimeline",
    "table": "Table",
    "text": "Text",
    "timeseries": "TimeSeries",
}
CUSTOM = ("barchart", "heatmap", "piechart", "state-timeline", "timeseries")

MISTAKES: dict[str, Callable[[Document], None]] = {
    "enumeration": lambda board: board.update(graphTooltip=7),
    "key": lambda board: board.update(notAKey=1),
    "option": lambda board: _first(board, "timeseries")["options"]["tooltip"].update(mode="loud"),
    "custom": lambda board: _defaults(board)["custom"].update(lineWidth="1"),
    "threshold": lambda board: _defaults(board)["thresholds"].update(mode="relative"),
}


@pytest.fixture(scope="module", params=["11.6.2", "latest"])
def package(request: pytest.FixtureRequest) -> Path:
    """A folder with Grafana's types and a compiler."""
    return npm.install(f"grafana-schema/{request.param}", f"@grafana/schema@{request.param}", TYPESCRIPT)


def test_every_dashboard_has_the_types_of_grafana(package: Path, tmp_path: Path) -> None:
    assert _complaints(package, tmp_path, [board for _, board in checked()]) == ""


def test_the_check_finds_mistakes(package: Path, tmp_path: Path) -> None:
    spoiled = []
    for spoil in MISTAKES.values():
        board = json.loads(json.dumps(reading.board("gw-http")))
        spoil(board)
        spoiled.append(board)
    found = _complaints(package, tmp_path, spoiled)
    lines = (tmp_path / "dashboards.ts").read_text("utf-8").splitlines()
    wrong = [lines[int(number) - 1] for number in re.findall(r"\((\d+),\d+\): error TS", found)]

    for number, name in enumerate(MISTAKES):
        assert [line for line in wrong if re.match(rf"export const [a-z]+{number}\D", line)], name


def _first(board: Document, kind: str) -> Document:
    return next(panel for panel in reading.panels(board) if panel["type"] == kind)


def _defaults(board: Document) -> Document:
    found: Document = _first(board, "timeseries")["fieldConfig"]["defaults"]
    return found


def _complaints(package: Path, folder: Path, boards: list[Document]) -> str:
    (folder / "node_modules").symlink_to(package / "node_modules")
    (folder / "tsconfig.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "dashboards.ts").write_text(_module(package, boards), encoding="utf-8")
    command = [str(package / "node_modules/.bin/tsc"), "-p", str(folder)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    return run.stdout + run.stderr


def _module(package: Path, boards: list[Document]) -> str:
    lines = ["import type { Dashboard } from '@grafana/schema';", AS_JSON]
    kinds = sorted({panel["type"] for board in boards for panel in reading.panels(board)})
    lines += [_import(package, kind) for kind in kinds]
    has_v2 = (package / "node_modules/@grafana/schema/dist/types/schema/dashboard/v2").exists()
    if has_v2:
        lines.append(f"import type {{ FieldConfigSource }} from '{V2}';")
    for number, board in enumerate(boards):
        lines.append(f"export const board{number}: J<Dashboard> = {json.dumps(_typed(board))};")
        for panel in reading.panels(board):
            lines += _panel(f"{number}_{panel['id']}", panel)
            if has_v2 and "fieldConfig" in panel:
                config = json.dumps(panel["fieldConfig"])
                lines.append(f"export const fields{number}_{panel['id']}: J<FieldConfigSource> = {config};")
    return "\n".join(lines)


def _typed(board: Document) -> Document:
    """The dashboard without what Grafana reads and its types do not name."""
    found: Document = json.loads(json.dumps({key: value for key, value in board.items() if key != "id"}))
    for annotation in found["annotations"]["list"]:
        # What the Prometheus datasource reads.
        assert annotation.pop("expr")
        assert annotation.pop("titleFormat")
        assert annotation.pop("textFormat")
    for variable in found["templating"]["list"]:
        if variable["type"] == "interval":
            assert variable.pop("auto")
            assert variable.pop("auto_min")
            assert variable.pop("auto_count")
    return found


def _import(package: Path, kind: str) -> str:
    name, folder = NAMES[kind], kind.replace("-", "")
    module = f"@grafana/schema/dist/esm/raw/composable/{folder}/panelcfg/x/{name}PanelCfg_types.gen"
    # Older packages list no types for these modules, so that the file has to be named.
    ending = "" if (package / "node_modules/@grafana/schema/dist/types").exists() else ".d.ts"
    custom = f", FieldConfig as {name}Custom" if kind in CUSTOM else ""
    return f"import type {{ Options as {name}Options{custom} }} from '{module}{ending}';"


def _panel(number: str, panel: Document) -> list[str]:
    name = NAMES[panel["type"]]
    found = [f"export const options{number}: J<Partial<{name}Options>> = {json.dumps(panel['options'])};"]
    if panel["type"] in CUSTOM:
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        found.append(f"export const custom{number}: J<Partial<{name}Custom>> = {json.dumps(custom)};")
    return found
