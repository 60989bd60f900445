"""JSON, made by orjson."""

from typing import Any

import orjson
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


class JSON(Response):
    """A response of JSON; times are in UTC and end in Z."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        # orjson doesn't know asyncpg's UUID.
        return orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z)


async def answer_http_exception(_request: Request, error: HTTPException) -> Response:
    """Answer with the error's status and sentence."""
    return JSON({"detail": error.detail}, error.status_code, error.headers)


async def answer_validation_error(_request: Request, error: ValidationError) -> Response:
    """Answer 422 with what isn't valid."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return JSON({"detail": found}, 422)


EXCEPTION_HANDLERS = {
    HTTPException: answer_http_exception,
    ValidationError: answer_validation_error,
}
