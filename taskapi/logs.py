"""The log: lines on standard error, each with the id of the request that it belongs to."""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid

from flask import Flask, Response, g, has_request_context, request

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

logger = logging.getLogger("taskapi")


class RequestIdFilter(logging.Filter):
    """Puts the request's id into each record, `-` outside of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id() if has_request_context() else "-"
        return True


def configure_logging(level: str) -> None:
    """Write our lines and the pool's to standard error, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(request_id)s %(name)s: %(message)s")
    )
    for name in ("taskapi", "psycopg.pool"):
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).propagate = False
    logging.getLogger("taskapi").setLevel(level.upper())
    # The pool tells of each checkout at its level info.
    logging.getLogger("psycopg.pool").setLevel("WARNING" if level == "info" else level.upper())


def request_id() -> str:
    """Return this request's id: the client's own X-Request-ID where it is a good one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    value: str = g.request_id
    return value


def register_request_log(app: Flask) -> None:
    """Log each request in one line, and put its id on the answer."""

    @app.before_request
    def start_clock() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def log_request(response: Response) -> Response:
        response.headers["X-Request-ID"] = request_id()
        # The route's pattern and not its path: ids don't belong in a log that many read.
        logger.info(
            "%s %s %d %.1f ms",
            request.method,
            request.url_rule or "-",
            response.status_code,
            (time.perf_counter() - g.started) * 1000,
        )
        return response
