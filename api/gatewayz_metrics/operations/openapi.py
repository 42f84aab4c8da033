"""The service's OpenAPI document: FastAPI's, with the ways to show a token."""

from collections.abc import Iterator

from gatewayz_metrics.http.openapi import OpenApiObject
from gatewayz_metrics.security import TOKEN_SCHEMES


def add_security(document: OpenApiObject) -> OpenApiObject:
    """The document with the security schemes, required by every operation that answers 401."""
    schemes = {name: dict(scheme) for name, scheme in TOKEN_SCHEMES.items()}
    return document | {
        "components": document.get("components", {}) | {"securitySchemes": schemes},
        "paths": {path: dict(_guard_operations(item)) for path, item in document["paths"].items()},
    }


def _guard_operations(item: OpenApiObject) -> Iterator[tuple[str, OpenApiObject]]:
    for method, operation in item.items():
        # One of the schemes is enough.
        required: list[OpenApiObject] = [{name: []} for name in TOKEN_SCHEMES]
        yield method, operation | {"security": required if "401" in operation["responses"] else []}
