"""The URL that clients know the service by."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import request, url_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def public_url(endpoint: str, **path: str) -> str:
    """Return the URL of an endpoint for clients: a path only if the Host is not a valid one."""
    return url_for(endpoint, **path, _external=bool(request.host))


class PublicUrl:
    """WSGI middleware: each request came to PUBLIC_URL, whatever its Host.

    What Flask makes URLs of, it reads from these variables.
    """

    def __init__(self, app: WSGIApplication, url: str) -> None:
        self._app = app
        scheme, host, path, *_ = urlsplit(url)
        self._variables = {"wsgi.url_scheme": scheme, "HTTP_HOST": host, "SCRIPT_NAME": path}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.update(self._variables)
        return self._app(environ, start_response)
