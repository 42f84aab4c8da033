"""The first thing that pydantic finds wrong, for the sentences that callers, files and settings are told."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """Where something is wrong, and what, as a clause without a full stop."""

    place: tuple[int | str, ...]
    clause: str
    # What was given there; None where the validator keeps it to itself, as it may be a secret.
    given: object = None


def first_problem(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """The first of what `ValidationError.errors()` lists, https://docs.pydantic.dev/latest/errors/errors/."""
    first = errors[0]
    # Pydantic puts the prefix before every sentence of our own validators.
    return Problem(first["loc"], first["msg"].removeprefix("Value error, ").rstrip("."), first.get("input"))
