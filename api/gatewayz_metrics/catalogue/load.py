"""A catalogue file (TOML) as a typed catalogue."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gatewayz_metrics.catalogue.model import Catalogue
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.validation import first_problem


def load(path: Path | None = None) -> Catalogue:
    """The catalogue at the path, or GatewayZ' own.

    Raises ConfigurationError with one sentence that names the file and the entry.
    """
    name = str(path) if path else "the built-in catalogue"
    try:
        text = path.read_text("utf-8") if path else files(__package__).joinpath("gatewayz.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The catalogue {name} cannot be read ({exc}); check CATALOGUE.") from exc
    return parse_catalogue(text, name)


def parse_catalogue(text: str, name: str) -> Catalogue:
    """The catalogue in a TOML text; `name` is what errors call it."""
    try:
        document = _entries(tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"The catalogue {name} is not valid TOML: {exc}.") from exc
    try:
        return Catalogue.model_validate(document)
    except ValidationError as exc:
        problem = first_problem(exc.errors(include_url=False))
        place = _place(problem.place, document)
        raise ConfigurationError(f"The catalogue {name} is refused: {place}{problem.clause}.") from exc


def _entries(document: dict[str, Any]) -> dict[str, Any]:
    """Tables keyed by name as lists of entries that carry their name."""
    families = _table(document.get("families", {}))
    sections = _table(document.get("statistics", {}))
    return document | {
        "families": [{"name": name, **_table(entry)} for name, entry in families.items()],
        "statistics": [
            {"name": f"{section}.{key}", **_table(entry)}
            for section, keys in sections.items()
            for key, entry in _table(keys).items()
        ],
    }


def _table(value: object) -> dict[str, Any]:
    """The value as a table; anything else becomes a field that the model refuses by name."""
    return value if isinstance(value, dict) else {"not a table": value}


def _place(loc: tuple[int | str, ...], document: dict[str, Any]) -> str:
    """Where an error stands, for people: `the family tokens_used_total, by: `."""
    match loc:
        case ("families" | "statistics" as table, int(index), *field):
            kind = {"families": "family", "statistics": "statistic"}[table]
            entry = f"the {kind} {document[table][index]['name']}"
            return f"{entry}, {field[0]}: " if field else f"{entry} "
        case (field, *_):
            return f"{field}: "
    return ""
