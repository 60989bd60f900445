"""The headers that every answer bears, for the browsers among the clients."""

from __future__ import annotations

from flask import Flask, Response

HEADERS = {
    # An answer is one user's, or news of this moment: no cache may keep it (RFC 9111, 5.2.2.5).
    "Cache-Control": "no-store",
    # Opened as a page of its own, an answer can load nothing and be framed by nobody.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def register_headers(app: Flask) -> None:
    """Put the headers on every answer, errors included, where the view hasn't set its own."""

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response
