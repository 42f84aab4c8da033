"""Entries of a catalogue by the names that callers use, and sentences about those that are missing or have no value."""

import re
from difflib import get_close_matches

from gatewayz_metrics.catalogue.model import Catalogue, Family, Statistic

# Names in one suggestion.
_MOST_SUGGESTIONS = 3
# How alike two names are before one is suggested for the other, or taken for a misspelling of it.
_ALIKE = 0.6
_MISSPELT = 0.8
_STATISTIC_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\.[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NAME = 100


def find_entry(catalogue: Catalogue, name: str) -> Family | Statistic | None:
    """The entry with this name; under an alias the statistic it stands for, which then bears the alias as its name."""
    alias_of = catalogue.aliases.get(name)
    if alias_of is not None:
        return catalogue.by_name[alias_of].model_copy(update={"name": name})
    return catalogue.by_name.get(name)


def is_misspelt(catalogue: Catalogue, text: str) -> bool:
    """Whether a text that names no entry must have been meant as one.

    That is a replaced name, and what looks like a statistic's name: a word, a dot and a word are no PromQL.
    """
    if text in catalogue.replacements:
        return True
    found = _STATISTIC_NAME.fullmatch(text[: 2 * _LONGEST_NAME])
    return found is not None and (found[1] in catalogue.sections or bool(_nearest(catalogue, text, _MISSPELT)))


def explain_unknown(catalogue: Catalogue, name: str) -> str:
    """A sentence about a name that is no entry: which one replaces it, or which are like it."""
    kind = "statistic" if _STATISTIC_NAME.fullmatch(name[:_LONGEST_NAME]) else "statistic or family"
    unknown = f"There is no {kind} {name[:_LONGEST_NAME]!r}"
    if successor := catalogue.replacements.get(name):
        return f"{unknown}; use `{successor}`."
    if alike := _nearest(catalogue, name, _ALIKE):
        return f"{unknown}; did you mean {' or '.join(f'`{one}`' for one in alike)}?"
    return f"{unknown}; /prometheus/metrics/docs lists what there is."


def explain_absence(entry: Family | Statistic, window: str) -> str:
    """Why an entry that did not fail has no value."""
    sources = ", ".join(entry.sources)
    return f"No data: no matching series of {sources}, or nothing happened within the last {window}."


def _nearest(catalogue: Catalogue, name: str, alike: float) -> list[str]:
    """The entries whose names are like this one, the most alike first."""
    return get_close_matches(name[:_LONGEST_NAME], catalogue.by_name, _MOST_SUGGESTIONS, alike)
