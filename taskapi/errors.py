"""Where exceptions become HTTP: one shape for all, the framework's own included."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from taskapi import exceptions
from taskapi.key_set import COOLDOWN

logger = logging.getLogger("taskapi")

BEARER = {"WWW-Authenticate": "Bearer"}
# Seconds. Nearly all failures of a database that has a standby or restarts are over by then.
RETRY = {"Retry-After": "5"}
# Its keys aren't fetched again before.
REFETCH = {"Retry-After": str(COOLDOWN)}


class Answer(NamedTuple):
    """What a client is told of an exception."""

    status: int
    detail: str
    headers: dict[str, str] = {}


ANSWERS: dict[type[exceptions.TaskApiError], Answer] = {
    exceptions.MissingToken: Answer(401, "Missing authentication token", BEARER),
    exceptions.InvalidToken: Answer(401, "Invalid token", BEARER),
    exceptions.UnknownUser: Answer(401, "Invalid token", BEARER),
    exceptions.TokenExpired: Answer(401, "Token expired", BEARER),
    exceptions.InvalidCredentials: Answer(401, "Invalid credentials", BEARER),
    exceptions.AccessDenied: Answer(403, "Access denied: user_id does not match the token"),
    exceptions.TaskNotFound: Answer(404, "Task not found"),
    exceptions.TaskChanged: Answer(412, "The task has changed since"),
    exceptions.EmailTaken: Answer(409, "Email already registered"),
    exceptions.EmailOfAnotherUser: Answer(409, "The token's email belongs to another account"),
    exceptions.TooManyFailedLogins: Answer(429, "Too many failed logins: try again later"),
    exceptions.PasswordsBusy: Answer(503, "Too many logins at once: try again later", RETRY),
    exceptions.IdentityProviderUnavailable: Answer(
        503, "The identity provider is not available", REFETCH
    ),
    exceptions.DatabaseUnavailable: Answer(503, "The database is not available", RETRY),
    exceptions.MigrationsPending: Answer(503, "The database lacks migrations", RETRY),
}

# What the framework refuses, in our words: its own name the library and its limits.
SENTENCES = {
    400: "The request body is not valid JSON",
    404: "Not found",
    405: "Method not allowed",
    411: "The request must say its length: send Content-Length",
    413: "The request body is larger than 64 KiB",
    415: "The request body must be declared as application/json",
    500: "Internal server error",
}


def register_errors(app: Flask) -> None:
    """Answer every exception as JSON; what nothing here names is a defect, and logged."""
    app.register_error_handler(exceptions.InvalidInput, answer_invalid_input)
    app.register_error_handler(exceptions.TaskApiError, answer_exception)
    app.register_error_handler(HTTPException, answer_http_exception)
    app.log_exception = log_defect  # type: ignore[method-assign]


def log_defect(exc_info: Any) -> None:
    """Log what is answered with 500; Flask's own words for it hold the path."""
    logger.error("A defect", exc_info=exc_info)


def answer_invalid_input(error: exceptions.InvalidInput) -> tuple[Response, int]:
    """422, with an entry for each fault."""
    return jsonify(detail=error.faults), 422


def answer_exception(error: exceptions.TaskApiError) -> tuple[Response, int, dict[str, str]]:
    """Answer as the table says for the class or its nearest base."""
    status, detail, headers = next(ANSWERS[base] for base in type(error).__mro__ if base in ANSWERS)
    if status >= 500:
        logger.warning("%s: %s", detail, error)
    elif error.__cause__ is not None:
        # What the client isn't told, by its name: a library's message may quote a token.
        logger.debug("%s: %s", detail, type(error.__cause__).__name__)
    if isinstance(error, exceptions.TooManyFailedLogins):
        headers = {"Retry-After": str(error.retry_after)}
    return jsonify(detail=detail), status, headers


def answer_http_exception(error: HTTPException) -> tuple[Any, int, dict[str, str]]:
    """Keep the status and the headers that matter, such as Allow; replace the HTML."""
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    detail = SENTENCES.get(status) or HTTP_STATUS_CODES.get(status, "Error")
    return jsonify(detail=detail), status, headers
