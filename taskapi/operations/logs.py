"""The log: one JSON object a line on standard error, or text on a terminal.

Each request is one line. No line has passwords, tokens, titles or descriptions, at any level.
"""

from __future__ import annotations

import logging
import random
import re
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
from flask import Flask, Response, g, has_request_context, request

from taskapi.config import Config
from taskapi.database.pool import Usage
from taskapi.web.addresses import client_address

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Logged in place of a route's pattern if no route matches the path.
UNMATCHED = "unmatched"

logger = logging.getLogger("taskapi")


class Handler(logging.StreamHandler[Any]):
    """The root logger's handler that configure_logging replaces."""


class RequestRecord(logging.LogRecord):
    """The record of a request's line, copied from a record that was made before.

    logger.info() finds its caller, and LogRecord the thread and process. Both cost more than the
    rest of the line (make bench-logging).
    """

    MODEL = logging.LogRecord("taskapi", logging.INFO, __file__, 0, "request", (), None).__dict__

    def __init__(self, members: dict[str, Any]) -> None:
        self.__dict__.update(self.MODEL, created=time.time(), members=members)


class JSONFormatter(logging.Formatter):
    """Formats a record and its `members` as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(_members(record), default=str, option=orjson.OPT_UTC_Z).decode()


class TextFormatter(logging.Formatter):
    """Formats a record for reading, its members as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        members = _members(record)
        when, level, message = (members.pop(name) for name in ("time", "level", "message"))
        exception = members.pop("exception", None)
        words = [f"{when:%H:%M:%S}", level.upper(), message]
        words += [f"{name}={value}" for name, value in members.items() if value is not None]
        return " ".join(words) + (f"\n{exception}" if exception else "")


def make_formatter(log_format: str) -> logging.Formatter:
    """Return the formatter of LOG_FORMAT. `auto` is text on a terminal, else JSON."""
    if log_format == "text" or (log_format == "auto" and sys.stderr.isatty()):
        return TextFormatter()
    return JSONFormatter()


def configure_logging(config: Config) -> None:
    """Log to standard error: this package from LOG_LEVEL on, libraries from warnings on."""
    handler = Handler(sys.stderr)
    handler.setFormatter(make_formatter(config.log_format))
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, Handler)]
    root.addHandler(handler)
    logging.captureWarnings(True)
    level = config.log_level.upper()
    logger.setLevel(level)
    # The pool logs each checkout at level info.
    logging.getLogger("psycopg.pool").setLevel("WARNING" if level == "INFO" else level)


def request_id() -> str:
    """Return this request's id: the client's X-Request-ID if it is valid, else a new one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        # Not a secret, so it needs no random bytes from the kernel.
        made = f"{random.getrandbits(128):032x}"
        g.request_id = given if REQUEST_ID.fullmatch(given) else made
    value: str = g.request_id
    return value


def route() -> str:
    """Return the pattern of this request's route. A path could be anything that a client sends."""
    return request.url_rule.rule if request.url_rule is not None else UNMATCHED


def seconds_since_start() -> float:
    """Return how long this request has taken so far, in seconds."""
    started: float = g.started
    return time.perf_counter() - started


def register_request_log(app: Flask, usage: Usage, successes: float) -> None:
    """Log each request in one line, and add its id to the response.

    Of requests with a status below 400 only the share `successes`, 0 to 1, is logged.
    """

    @app.before_request
    def start_clock() -> None:
        usage.reset()
        g.started = time.perf_counter()

    @app.after_request
    def log_request(response: Response) -> Response:
        response.headers["X-Request-ID"] = request_id()
        status = response.status_code
        is_wanted = status >= 400 or random.random() < successes  # noqa: S311
        if is_wanted and logger.isEnabledFor(logging.INFO):
            address = client_address()
            members = {
                "method": request.method,
                "route": route(),
                "operation": request.endpoint,
                "status": status,
                "duration_ms": _milliseconds(seconds_since_start()),
                "db_ms": _milliseconds(usage.seconds),
                "db_wait_ms": _milliseconds(usage.waited),
                "user_id": g.get("user_id"),
                "task_id": g.get("task_id"),
                "client_ip": None if address is None else str(address),
            }
            logger.handle(RequestRecord(members))
        return response


def format_exception(error: BaseException | None) -> str:
    """Return the traceback of an exception and its causes, without their messages.

    A message may quote what a client sent: PostgreSQL's may show a whole row.
    """
    parts: list[str] = []
    while error is not None:
        name = type(error).__name__
        if isinstance(error, psycopg.Error):
            diag = error.diag
            details = (diag.sqlstate, diag.table_name, diag.column_name, diag.constraint_name)
            name = " ".join([name, *filter(None, details)])
        parts.append("".join([*traceback.format_tb(error.__traceback__), name]))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\ncaused by\n".join(parts)


def _members(record: logging.LogRecord) -> dict[str, Any]:
    members: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC),
        "level": record.levelname.lower(),
        # A message that isn't UTF-8, such as an odd file name, can't be JSON.
        "message": record.getMessage().encode(errors="backslashreplace").decode(),
    }
    if has_request_context():
        members["request_id"] = request_id()
    else:
        members["process"] = record.process
    members |= record.__dict__.get("members", {})
    if record.exc_info and record.exc_info[1]:
        text = format_exception(record.exc_info[1])
        members["exception"] = text.encode(errors="backslashreplace").decode()
    return members


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
