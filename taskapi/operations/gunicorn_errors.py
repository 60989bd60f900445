"""Responses to requests that gunicorn refuses before the application sees them, as JSON."""

from __future__ import annotations

import random
from http import HTTPStatus

import orjson
from gunicorn.http import errors

from taskapi.web.headers import HEADERS

# By the class of gunicorn's exception. Its messages quote what the client sent.
ANSWERS: dict[type[Exception], tuple[int, str]] = {
    errors.LimitRequestLine: (414, "The request line is too long"),
    errors.LimitRequestHeaders: (431, "The request headers are too large"),
    errors.InvalidHTTPVersion: (505, "The HTTP version is not supported"),
    errors.UnsupportedTransferCoding: (501, "The transfer coding is not supported"),
    errors.ExpectationFailed: (417, "The expectation is not supported"),
    errors.ParseException: (400, "The request is not valid HTTP"),
}
BUG = (500, "Internal server error")


def render_error(error: Exception) -> tuple[bytes, int, str]:
    """Return the response, its status, and a line for the log. 500 is a bug."""
    kinds = [kind for kind in ANSWERS if isinstance(error, kind)]
    status, detail = ANSWERS[kinds[0]] if kinds else BUG
    request_id = f"{random.getrandbits(128):032x}"
    body = orjson.dumps({"detail": detail}, option=orjson.OPT_APPEND_NEWLINE)
    headers = {
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
        **HEADERS,
    }
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    line = f"Invalid request {request_id}: {type(error).__name__}"
    return head.encode() + b"\r\n" + body, status, line
