"""The pages that people read: every example is run by some test, and whatever they name exists."""

import importlib
import re
import shlex
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi.testclient import TestClient
from gatewayz_metrics import create_app
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.cli import app as command
from gatewayz_metrics.host_settings import PREFIX
from gatewayz_metrics.settings import Settings

from tests.support.client import serving
from tests.support.pages import EXAMPLES, PAGES, ROOT, RUNNERS, inline_code
from tests.support.readme import DOCS, GENERATED, with_tables

TESTS = Path(__file__).parent
# Names in capitals that are no settings of the service: of engines, of other programs, and of HTTP and PromQL.
OTHER_NAMES = {
    "ALERTS": "the series that Prometheus writes of its alerts",
    "API_TOKEN": "what `check` and `purge` show",
    "GATEWAYZ_METRICS_TOKEN": "read by docker-compose.yml and Grafana's provisioning",
    "GATEWAYZ_METRICS_URL": "read by Grafana's provisioning",
    "GATEWAYZ_METRICS_": "the prefix itself",
    "GRAFANA_PASSWORD": "read by docker-compose.yml",
    "HELP": "a line of an exposition",
    "IMPORTDATA": "a function of spreadsheets",
    "PROMETHEUS_BIN": "read by the demo",
    "TRICKSTER_BIN": "read by the benchmark",
    "TYPE": "a line of an exposition",
}
# Names that look like metrics and are labels, other programs' own, or names of former times.
OTHER_METRICS = {
    "extra_label": "an argument of VictoriaMetrics",
    "gatewayz_health_service_up": "of the exporter that one moves from",
    "http_library": "a fixture",
    "http_request_duration_seconds": "an older name of the backend's, which nothing here reads",
    "http_requests_total": "as above",
    "label_time": "a column",
    "show_progress": "a function",
    "label_values": "a function of Grafana",
}
# Of uvicorn, and of Prometheus.
OTHER_OPTIONS = {
    "--enable-feature=exemplar-storage",
    "--limit-concurrency",
    "--no-access-log",
    "--no-server-header",
    "--web.listen-address=[::]:9090",
}
# Where other programs, and the hosts of examples, have their files and routes.
OTHER_PATHS = (
    "/etc/grafana/provisioning",
    "/federate",
    "/path/to/",
    "/prometheus/api/v1",
    "/prometheus/datasource",
    "app/",
    "dashboards/boards/<board>.py",
    "text/plain",
)


def name_page(page: object) -> str | None:
    return str(page.relative_to(ROOT)) if isinstance(page, Path) else None


each_page = pytest.mark.parametrize("page", PAGES, ids=name_page)


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as code forges make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_example_is_run_by_a_test() -> None:
    """A module that runs some claims them while it is imported."""
    for file in TESTS.rglob("test_*.py"):
        if " claim(" in file.read_text("utf-8") and file != Path(__file__):
            importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))

    assert [str(example) for example in EXAMPLES if example not in RUNNERS] == [], "no test claims these"


@pytest.mark.parametrize("page", GENERATED, ids=name_page)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text("utf-8")

    assert with_tables(text) == text, "run: make readme"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_has_a_row(name: str) -> None:
    assert f"| `{name.upper()}` |" in (DOCS / "configuration.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("page", "link"),
    [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))],
    ids=name_page,
)
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, fragment = link.partition("#")
    if not link.startswith("https://"):
        target = page.parent / path if path else page
        assert target.exists()
        assert not fragment or fragment in anchors(target)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130


# --------------------------------------------------------------------------- names


@each_page
def test_the_settings_that_a_page_names_exist(page: Path) -> None:
    named = {
        name
        for code in (*inline_code(page), *examples_of(page))
        for name in re.findall(r"(?<![A-Za-z0-9_])[A-Z][A-Z]+(?:_[A-Z]+)+_?(?![A-Za-z0-9_])|^[A-Z]{4,}(?==|$)", code)
    }
    settings = {name.upper() for name in Settings.model_fields}

    assert {name.removeprefix(PREFIX) for name in named - set(OTHER_NAMES)} - settings == set()


def examples_of(page: Path) -> list[str]:
    return [example.text for example in EXAMPLES if example.page == name_page(page) and example.language == "console"]


@cache
def own_metrics() -> frozenset[str]:
    """The names of the samples at /metrics."""
    with serving() as client:
        text = client.get("/metrics").text
    return frozenset(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) | frozenset(
        re.findall(r"^([a-z_]+)", text, re.MULTILINE)
    )


@each_page
def test_the_metrics_and_statistics_that_a_page_names_exist(page: Path) -> None:
    catalogue = load()
    labels = {label for family in catalogue.families for label in family.by}
    statistics = {each.name for each in catalogue.statistics}
    known = (
        {family.name for family in catalogue.families}
        | {name.partition(".")[2] for name in statistics}
        | labels
        | set(catalogue.aliases)
        | set(catalogue.replacements)
        | own_metrics()
        | set(OTHER_METRICS)
    )
    code = inline_code(page)
    metrics = {name for each in code for name in re.findall(r"^([a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?:\{[^}]*\})?$", each)}
    told = {each for each in code if re.fullmatch(r"(http|models|providers|database|business)\.[a-z_]+", each)}

    assert metrics - known - set(Settings.model_fields) == set()
    assert told - statistics == set()


@each_page
def test_the_metrics_of_the_service_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"gatewayz_metrics_[a-z_]+[a-z]", page.read_text("utf-8")))

    assert named - own_metrics() - {"gatewayz_metrics"} == set()


# --------------------------------------------------------------------------- files and routes


@each_page
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    """A path of the repository, or one below the packages where the page is about the code; there a name is enough."""
    paths = {code for code in inline_code(page) if re.fullmatch(r"[\w.-]+(/[\w.<>-]+)+/?", code)}
    places = (ROOT, ROOT / "api/gatewayz_metrics", ROOT / "tests")
    ours = {path for path in paths if not path.startswith(OTHER_PATHS) and not path.isupper()}

    names = {code for code in inline_code(page) if re.fullmatch(r"\w+\.(py|html|toml|lock|json)", code)}

    assert {path for path in ours if not any((place / path).exists() for place in places)} == set()
    assert names - tracked_names() - {"mine.toml"} == set()


@cache
def tracked_names() -> frozenset[str]:
    """The names of all files that are no folder's cache."""
    places = ("api", "tests", "dashboards", "docs", "provisioning")
    return frozenset(path.name for each in places for path in (ROOT / each).rglob("*.*")) | {
        path.name for path in ROOT.iterdir()
    }


@each_page
def test_the_routes_that_a_page_names_exist(page: Path) -> None:
    named = {
        found[1]
        for code in inline_code(page)
        if (found := re.fullmatch(r"(?:GET |POST )?(/[\w./{}*-]*)(?:\?.*)?", code))
    }
    ours = {path for path in named if not path.startswith(OTHER_PATHS)}

    assert {path for path in ours if not is_served(path)} == set()


@cache
def is_served(path: str) -> bool:
    """Whether somebody answers there; short names stand for the metrics routes."""
    path = path.replace("{category}", "system").replace("*", "labels")
    # The JSON datasource of a host at another URL, and the root of the Prometheus API.
    path = {"/grafana": "/", "/api/v1": "/api/v1/labels"}.get(path, path)
    with TestClient(create_app(Settings(prometheus_url="http://127.0.0.1:9"))) as client:
        asked = [path, f"/prometheus/metrics{path}"]
        return any(client.request(method, each).status_code != 404 for each in asked for method in ("GET", "POST"))


# --------------------------------------------------------------------------- commands


def commands_of(page: Path) -> list[str]:
    """Everything on a page that one types."""
    lines = [line for example in EXAMPLES if example.page == name_page(page) for line in example.commands]
    return [*inline_code(page), *lines]


OWN = sorted(
    {
        line[line.index("gatewayz-metrics") :]
        for page in PAGES
        for line in commands_of(page)
        if re.match(r"([A-Z_]+=\S+ (.*\) )?)?(\.venv/bin/)?gatewayz-metrics( |$)", line)
    }
)
TASKS = sorted({task for page in PAGES for line in commands_of(page) for task in re.findall(r"^make ([\w -]+)", line)})
MODULES = sorted(
    {name for page in PAGES for line in commands_of(page) for name in re.findall(r"^python -m (\S+)", line)}
)


@pytest.mark.parametrize("line", OWN)
def test_a_command_takes_what_is_typed(line: str) -> None:
    """Its words and options, as the command itself reads them; nothing is run."""
    words = shlex.split(line)[1:]
    # A list of the options that there are, each without its value.
    if words[-4:] == ["--host", "--port", "--url", "--token-file"]:
        words = ["serve", "--host", "h", "--port", "1", "--url", "u", "--token-file", "f"]
    found: Any = typer.main.get_command(command)
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    if found.name == "catalogue":
        found = found.commands["show"]
    words = ["2" if word == "N" else word for word in words]
    options = {option for each in found.params for option in (*each.opts, *each.secondary_opts)}

    assert {word for word in words if word.startswith("--")} - {"--help"} <= options
    # What is missing or too much is an error of its parser; a group by itself shows its help.
    if words and not set(words) & {"--help", "--version"}:
        found.make_context(found.name, words)


@each_page
def test_the_options_that_a_page_names_exist(page: Path) -> None:
    """Options alone, in a sentence: of one of the commands."""
    named = {word for code in inline_code(page) if code.startswith("--") for word in code.split() if word[:2] == "--"}

    assert named - options_of(typer.main.get_command(command)) - OTHER_OPTIONS == set()


def options_of(found: Any) -> set[str]:
    """The options of a command, and of those below it."""
    own = {option for each in found.params for option in (*each.opts, *each.secondary_opts)}
    return own.union(*(options_of(each) for each in getattr(found, "commands", {}).values()))


@pytest.mark.parametrize("task", TASKS)
def test_a_make_target_exists(task: str) -> None:
    done = subprocess.run(["make", "-n", *task.split()], cwd=ROOT, capture_output=True, check=False)  # noqa: S607  # make is the point

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_is_run_exists(module: str) -> None:
    assert find_spec(module) is not None
