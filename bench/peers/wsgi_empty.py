"""The ceiling for gunicorn: a bare WSGI callable that answers BODY_BYTES bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY = b'"%s"' % (b"0" * (int(os.environ["BODY_BYTES"]) - 2))
HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the constant."""
    start_response("200 OK", list(HEADERS))
    return [BODY]
