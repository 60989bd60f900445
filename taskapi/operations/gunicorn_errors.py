"""Responses to requests that gunicorn refuses before the application sees them, as JSON."""

from __future__ import annotations

import random
import re
from http import HTTPStatus

import orjson
from gunicorn.http import errors

from taskapi.web.errors import describe
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
ACCEPT = re.compile(rb"^Accept:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def render_error(error: Exception, head: bytes) -> tuple[bytes, int, str]:
    """Return the response, its status, and a line for the log. 500 is a bug.

    `head` is the request's as it came, which may be anything.
    """
    kinds = [kind for kind in ANSWERS if isinstance(error, kind)]
    status, detail = ANSWERS[kinds[0]] if kinds else BUG
    request_id = f"{random.getrandbits(128):032x}"
    accept = b", ".join(ACCEPT.findall(head)).decode("latin-1")
    value, media_type = describe(accept, status, detail)
    body = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    headers = {
        "Connection": "close",
        "Content-Type": media_type,
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
        **HEADERS,
    }
    start = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    start += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    line = f"Invalid request {request_id}: {type(error).__name__}"
    return start.encode() + b"\r\n" + body, status, line
