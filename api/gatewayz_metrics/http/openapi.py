"""Operations described for OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1.html), out of what the code knows.

A description stands within its operation and refers to nothing outside of it: in a host application the rest of
the document is the host's own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from gatewayz_metrics.errors import ServiceError

OpenApiObject = dict[str, Any]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
_DEFINITION = "#/$defs/"


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """How a surface answers errors: the status of each class, and the schema of a body by the codes it may carry."""

    status_of: Callable[[type[ServiceError]], int]
    schema_of: Callable[[list[str]], OpenApiObject]


def describe_answer(description: str, contents: Mapping[str, OpenApiObject]) -> OpenApiObject:
    """A response by its media types and their schemas."""
    return {"description": description, "content": {media: {"schema": schema} for media, schema in contents.items()}}


def describe_errors(families: Iterable[type[ServiceError]], form: ErrorForm, highest: int) -> OpenApiObject:
    """The responses for some classes of errors and all their subclasses; a status from `highest` on is `highest`'s."""
    by_status: dict[int, dict[str, str]] = {}
    for each in list_family(families):
        meanings = by_status.setdefault(min(form.status_of(each), highest), {})
        meanings.setdefault(each.code, (each.__doc__ or "").partition("\n")[0])
    return {
        str(status): describe_answer(
            f"{HTTPStatus(status).phrase}\n\n" + "\n".join(f"* `{code}` {text}" for code, text in meanings.items()),
            {JSON: form.schema_of(list(meanings))},
        )
        for status, meanings in sorted(by_status.items())
    }


def list_family(classes: Iterable[type[ServiceError]]) -> list[type[ServiceError]]:
    """Some classes of errors and all their subclasses, each once."""
    found: dict[type[ServiceError], None] = {}
    for each in classes:
        found |= dict.fromkeys([each, *list_family(each.__subclasses__())])
    return list(found)


def describe_model(model: type[BaseModel]) -> OpenApiObject:
    """The JSON schema of a model, with the models inside it in their places."""
    schema = model.model_json_schema()
    resolved: OpenApiObject = _resolve(schema, schema.pop("$defs", {}))
    return resolved


def _resolve(node: Any, definitions: OpenApiObject) -> Any:
    if isinstance(node, list):
        return [_resolve(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    merged: OpenApiObject = {key: _resolve(value, definitions) for key, value in node.items() if key != "$ref"}
    reference = node.get("$ref")
    if isinstance(reference, str):
        return _resolve(definitions[reference.removeprefix(_DEFINITION)], definitions) | merged
    return merged
