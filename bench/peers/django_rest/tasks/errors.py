"""The one answer that differs from REST framework's own: 422 for what isn't valid."""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler


def answer_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer as REST framework does, but with 422 where that says 400 of a body's members."""
    response = exception_handler(error, context)
    if response is not None and isinstance(error, ValidationError):
        response.status_code = 422
    return response
