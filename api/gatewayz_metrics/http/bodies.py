"""Request bodies, read within a limit, and JSON bodies as models.

JSON is read whatever the content type says: `curl -d` calls it a form.
"""

from typing import TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from gatewayz_metrics.errors import BodyTooLarge, InvalidParameter, ServiceError
from gatewayz_metrics.validation import first_problem

M = TypeVar("M", bound=BaseModel)


async def read_json(request: Request, model: type[M], most: int) -> M:
    """The body, of at most `most` bytes, as a model; an empty body counts as `{}`.

    Raises BodyTooLarge, or InvalidParameter when it is no JSON or does not fit the model.
    """
    raw = await read_body(request, most, BodyTooLarge(most))
    try:
        document = orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError as exc:
        raise InvalidParameter(f"The body is not JSON: {exc.msg} at character {exc.colno}.") from exc
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        problem = first_problem(exc.errors(include_url=False))
        place = ".".join(map(str, problem.place)) or "the body"
        raise InvalidParameter(f"The body cannot be used, {place}: {problem.clause}.") from exc


async def read_body(request: Request, limit: int, error: ServiceError) -> bytes:
    """The whole body. Raises the error as soon as more than `limit` bytes arrived, without reading on."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise error
    return bytes(body)
