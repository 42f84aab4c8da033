"""The pages that people read, their examples, and which test runs each: no example is left to itself."""

import inspect
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "provisioning").rglob("*.md")),
]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A fenced block: its page, the heading above it, its language and the line where it begins."""

    page: str
    section: str
    language: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language or 'no language'}, {self.section})"

    @property
    def commands(self) -> list[str]:
        """The lines that are typed in a console, without the remarks behind them."""
        typed = [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        return [re.sub(r"\s{2,}# .*", "", line) for line in typed]

    @property
    def answer(self) -> str:
        """What a console shows that is not typed."""
        return "".join(f"{line}\n" for line in self.text.splitlines() if not line.startswith("$ "))


def read_examples(page: Path) -> list[Example]:
    """The examples of a page, in order."""
    text = page.read_text("utf-8")
    found = []
    for block in _FENCED.finditer(text):
        before = _FENCED.sub("", text[: block.start()])
        titles: list[str] = re.findall(r"^#+ (.+)$", before, re.MULTILINE)
        line = text.count("\n", 0, block.start()) + 1
        found.append(Example(str(page.relative_to(ROOT)), titles[-1], block[1], line, block[2]))
    return found


EXAMPLES = [example for page in PAGES for example in read_examples(page)]
# The module that runs each.
RUNNERS: dict[Example, str] = {}


def claim(page: str, language: str, section: str | None = None) -> list[Example]:
    """The examples of a page, in a language and below a heading where one is named, which the calling module runs.

    To be called while the module is imported: `test_pages` imports all of them and names what nobody has claimed.
    """
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    found = [
        each for each in EXAMPLES if (each.page, each.language) == (page, language) and section in (None, each.section)
    ]
    assert found, f"{page} has no {language} below {section!r}"
    RUNNERS.update(dict.fromkeys(found, frame.f_back.f_globals["__name__"]))
    return found


def inline_code(page: Path) -> list[str]:
    """What stands in backticks outside of examples."""
    return re.findall(r"`([^`\n]+)`", _FENCED.sub("", page.read_text("utf-8")))
