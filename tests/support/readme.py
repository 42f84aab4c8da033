"""Tables of docs/, made from the code: `make readme` writes them, a test compares them."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.metrics_api.docs import render_routes_table
from gatewayz_metrics.settings import Settings
from pydantic import SecretStr

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"
# The pages that have tables.
GENERATED = (DOCS / "configuration.md", DOCS / "metrics.md")
_BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def with_tables(text: str) -> str:
    """A page with every marked block made anew."""
    return fill(text, TABLES)


def fill(text: str, blocks: Mapping[str, Callable[[], Iterator[str]]]) -> str:
    """A page with the lines of every marked block, by the block's name."""
    return _BLOCK.sub(lambda block: block[1] + "".join(f"{line}\n" for line in blocks[block[2]]()) + block[3], text)


def _routes() -> Iterator[str]:
    return render_routes_table(load())


def _statistics() -> Iterator[str]:
    yield "| Statistic | Unit | Meaning |"
    yield "|---|---|---|"
    for statistic in load().statistics:
        yield f"| `{statistic.name}` | {statistic.unit} | {statistic.help} |"


def _families() -> Iterator[str]:
    yield "| Family | Type | Unit | Labels | Categories | Meaning |"
    yield "|---|---|---|---|---|---|"
    for family in load().families:
        labels = ", ".join(f"`{label}`" for label in family.by)
        categories = ", ".join(family.categories)
        yield f"| `{family.name}` | {family.type} | {family.unit} | {labels} | {categories} | {family.help} |"


def _settings() -> Iterator[str]:
    yield "| Setting | Default | Meaning |"
    yield "|---|---|---|"
    for name, field in Settings.model_fields.items():
        yield f"| `{name.upper()}` | {_default(field.default)} | {field.description} |"


def _default(value: object) -> str:
    """A default as somebody would write it into the environment; nothing for an empty one."""
    if isinstance(value, SecretStr) or value in ("", None, (), {}):
        return ""
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


TABLES = {"routes": _routes, "statistics": _statistics, "families": _families, "settings": _settings}

if __name__ == "__main__":
    for page in GENERATED:
        page.write_text(with_tables(page.read_text("utf-8")), "utf-8")
