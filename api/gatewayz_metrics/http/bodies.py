"""JSON bodies, read by hand: whatever their content type says, within bounds, leniently."""

from typing import TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from gatewayz_metrics.errors import BodyTooLarge, InvalidParameter
from gatewayz_metrics.validation import first_problem

M = TypeVar("M", bound=BaseModel)


async def read_json(request: Request, model: type[M], most: int) -> M:
    """The body as a model; no body at all is an empty one. Raises InvalidParameter or BodyTooLarge."""
    raw = await _bytes(request, most)
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


async def _bytes(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise BodyTooLarge(most)
    return bytes(body)
