"""The log: a JSON object a line on standard error, or text where that is a terminal.

Each request is one line. None has passwords, tokens, titles or descriptions, whatever the level.
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

from taskapi.clients import client_address
from taskapi.config import Config
from taskapi.db import Usage

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Instead of a route's pattern, where the path has none.
UNMATCHED = "unmatched"

logger = logging.getLogger("taskapi")


class Handler(logging.StreamHandler[Any]):
    """Ours among the root logger's."""


class RequestRecord(logging.LogRecord):
    """The record of a request's line, a copy of one that was made before.

    logger.info() would find out who calls it, and LogRecord which thread and process this is: both
    cost more than all else that makes the line.
    """

    MODEL = logging.LogRecord("taskapi", logging.INFO, __file__, 0, "request", (), None).__dict__

    def __init__(self, members: dict[str, Any]) -> None:
        self.__dict__.update(self.MODEL, created=time.time(), members=members)


class JSONFormatter(logging.Formatter):
    """Writes a record, with what it has in `members`, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(_members(record), default=str, option=orjson.OPT_UTC_Z).decode()


class TextFormatter(logging.Formatter):
    """Writes a record for people: what JSON has as members as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        members = _members(record)
        when, level, message = (members.pop(name) for name in ("time", "level", "message"))
        exception = members.pop("exception", None)
        words = [f"{when:%H:%M:%S}", level.upper(), message]
        words += [f"{name}={value}" for name, value in members.items() if value is not None]
        return " ".join(words) + (f"\n{exception}" if exception else "")


def make_formatter(log_format: str) -> logging.Formatter:
    """Return what LOG_FORMAT asks for; `auto` is text on a terminal."""
    if log_format == "text" or (log_format == "auto" and sys.stderr.isatty()):
        return TextFormatter()
    return JSONFormatter()


def configure_logging(config: Config) -> None:
    """Write all lines to standard error: ours from LOG_LEVEL on, the libraries' warnings."""
    handler = Handler(sys.stderr)
    handler.setFormatter(make_formatter(config.log_format))
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, Handler)]
    root.addHandler(handler)
    logging.captureWarnings(True)
    level = config.log_level.upper()
    logger.setLevel(level)
    # The pool tells of each checkout at its level info.
    logging.getLogger("psycopg.pool").setLevel("WARNING" if level == "INFO" else level)


def request_id() -> str:
    """Return this request's id: the client's own X-Request-ID where it is a good one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        # No secret, so that the kernel needn't be asked for random bytes.
        made = f"{random.getrandbits(128):032x}"
        g.request_id = given if REQUEST_ID.fullmatch(given) else made
    value: str = g.request_id
    return value


def route() -> str:
    """Return the pattern of this request's route and not its path, which anybody may make up."""
    return request.url_rule.rule if request.url_rule is not None else UNMATCHED


def seconds_since_start() -> float:
    """Return how long this request has taken so far."""
    started: float = g.started
    return time.perf_counter() - started


def register_request_log(app: Flask, usage: Usage, successes: float) -> None:
    """Log each request in one line, and put its id on the answer.

    Of those with a status below 400 only a share, `successes`, is logged.
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
    """Return the traceback of an exception and of those that it came from, without their texts.

    A text may quote what a client has sent: PostgreSQL's shows the whole row.
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
    return "\nwhich came after\n".join(parts)


def _members(record: logging.LogRecord) -> dict[str, Any]:
    members: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC),
        "level": record.levelname.lower(),
        # What is no UTF-8, such as an odd file name, can't be JSON.
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
