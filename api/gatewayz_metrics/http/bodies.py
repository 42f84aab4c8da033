"""Request bodies, read within a limit, and JSON bodies as models.

JSON is read whatever the content type says: `curl -d` calls it a form.
"""

import re
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from gatewayz_metrics.errors import BodyTooLarge, InvalidParameter, ServiceError
from gatewayz_metrics.validation import first_problem

M = TypeVar("M", bound=BaseModel)

# Objects and lists of one document, and how deep they stand in one another. Decoded, the smallest takes a hundred
# times its text, and what is deeper than 254 can be read but not written.
_MOST_CONTAINERS = 4000
_DEEPEST = 100
# Strings are taken whole, as text may hold any number of brackets.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


async def read_json(request: Request, model: type[M], most: int) -> M:
    """The body, of at most `most` bytes, as a model; an empty body counts as `{}`.

    Raises BodyTooLarge, or InvalidParameter when it is no JSON or does not fit the model.
    """
    raw = await read_body(request, most, BodyTooLarge(most))
    try:
        document = decode_json(raw) if raw.strip() else {}
    except orjson.JSONDecodeError as exc:
        raise InvalidParameter(f"The body is not JSON: {exc.msg} at character {exc.colno}.") from exc
    except ValueError as exc:
        raise InvalidParameter(f"The body is not JSON that is read here: {exc}.") from exc
    return to_model(document, model)


def to_model(document: object, model: type[M]) -> M:
    """A decoded body as a model. Raises InvalidParameter when it does not fit."""
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        problem = first_problem(exc.errors(include_url=False))
        place = ".".join(map(str, problem.place)) or "the body"
        raise InvalidParameter(f"The body cannot be used, {place}: {problem.clause}.") from exc


def decode_json(raw: bytes) -> Any:
    """A JSON document. Raises ValueError with a clause when it is too deep or has too many parts, before decoding.

    Raises JSONDecodeError, which is one, for what is no JSON.
    """
    # Without so many brackets, those in strings included, it is neither.
    if raw.count(b"{") + raw.count(b"[") > _DEEPEST:
        _check_structure(raw)
    return orjson.loads(raw)


def _check_structure(raw: bytes) -> None:
    containers = depth = 0
    for match in _STRUCTURE.finditer(raw):
        sign = match[0]
        if sign in (b"{", b"["):
            containers, depth = containers + 1, depth + 1
        elif sign in (b"}", b"]"):
            depth -= 1
        if depth > _DEEPEST:
            raise ValueError(f"its lists and objects are more than {_DEEPEST} deep")
        if containers > _MOST_CONTAINERS:
            raise ValueError(f"it has more than {_MOST_CONTAINERS:,} lists and objects")


async def read_body(request: Request, limit: int, error: ServiceError) -> bytes:
    """The whole body. Raises the error as soon as more than `limit` bytes arrived, without reading on."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise error
    return bytes(body)
