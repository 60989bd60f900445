"""The security headers of every response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import WSGIEnvironment

HEADERS = {
    # A response belongs to one user, or is about this moment: no cache may keep it
    # (RFC 9111, 5.2.2.5).
    "Cache-Control": "no-store",
    # Opened as a page in a browser, a response can't load anything and can't be framed.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class BareResponse(Response):
    """A response that has the headers above unless the view sets its own.

    It has no default media type, because a 204 has no body.
    """

    default_mimetype = None

    def get_wsgi_response(
        self, environ: WSGIEnvironment
    ) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        # Added to the final list of headers: an after_request hook takes 16 µs more of each
        # request (make bench-hot-path).
        body, status, headers = super().get_wsgi_response(environ)
        given = {name.lower() for name, _ in headers}
        headers += [(name, value) for name, value in HEADERS.items() if name.lower() not in given]
        return body, status, headers
