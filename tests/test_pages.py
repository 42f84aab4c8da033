"""The pages of docs/: tables from the code, links that lead somewhere, settings and commands that exist."""

import re
from pathlib import Path

import pytest
from gatewayz_metrics.settings import Settings

from tests.support.command import finished
from tests.support.readme import DOCS, GENERATED, README, with_tables

PAGES = [*sorted(DOCS.glob("*.md")), *sorted(README.parent.glob("*.md"))]
TEXTS = "".join(page.read_text("utf-8") for page in PAGES)
COMMANDS = sorted(set(re.findall(r"gatewayz-metrics ([a-z]+)\b", TEXTS)))


def name_page(page: object) -> str | None:
    return page.name if isinstance(page, Path) else None


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as code forges make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", GENERATED, ids=name_page)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text("utf-8")

    assert with_tables(text) == text, "run: make readme"


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


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_no_setting_is_given_that_does_not_exist(page: Path) -> None:
    """A name with a value, as one writes it into the environment."""
    named = {name.removeprefix("GATEWAYZ_METRICS_") for name in re.findall(r"`([A-Z_]{4,})=", page.read_text("utf-8"))}

    # What the benchmark reads is no setting of the service.
    assert {name.lower() for name in named - {"TRICKSTER_BIN"}} <= set(Settings.model_fields)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists(command: str) -> None:
    assert finished(command, "--help")[0] == 0
