"""How each exception is answered: one table, one JSON shape, also for Flask's own errors.

A client that prefers problem details (RFC 9457) gets those. No response says `Vary: Accept`, which
is for caches: none may keep a response (web/headers.py).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import Flask, Response, jsonify, request
from werkzeug import exceptions as http
from werkzeug.http import HTTP_STATUS_CODES, parse_accept_header

from taskapi import exceptions

logger = logging.getLogger("taskapi")

JSON = "application/json"
PROBLEM = "application/problem+json"

BEARER = {"WWW-Authenticate": "Bearer"}
# Seconds. Most failures of a database that restarts or has a standby are over by then.
RETRY = {"Retry-After": "5"}
# Seconds, as the exception says.
RETRY_WHEN_TOLD = {"Retry-After": "{error.retry_after}"}


class Answer(NamedTuple):
    """The response to an exception.

    A header's `{error.x}` is the exception's attribute x, and so is each of `members`, which the
    JSON object has besides `detail`.
    """

    status: int
    detail: str
    headers: dict[str, str] = {}
    members: tuple[str, ...] = ()


ANSWERS: dict[type[Exception], Answer] = {
    exceptions.MissingToken: Answer(401, "Missing authentication token", BEARER),
    exceptions.InvalidToken: Answer(401, "Invalid token", BEARER),
    exceptions.TokenRevoked: Answer(401, "Invalid token", BEARER),
    exceptions.UnknownUser: Answer(401, "Invalid token", BEARER),
    exceptions.TokenExpired: Answer(401, "Token expired", BEARER),
    exceptions.InvalidCredentials: Answer(401, "Invalid credentials", BEARER),
    exceptions.AccessDenied: Answer(403, "Access denied: user_id does not match the token"),
    exceptions.AccountOfProvider: Answer(
        403, "The account belongs to an identity provider: change it there"
    ),
    exceptions.TooManyTasks: Answer(403, "You have as many tasks as you may: delete some first"),
    exceptions.TaskNotFound: Answer(404, "Task not found"),
    exceptions.TaskChanged: Answer(
        412, "The task has changed since", {"ETag": '"{error.tag}"'}, ("current",)
    ),
    exceptions.BatchRefused: Answer(
        409, "Nothing was written, because not every operation can be done", {}, ("results",)
    ),
    exceptions.BatchTooLarge: Answer(
        413, "The batch's tasks are larger than 2 MiB: send fewer operations"
    ),
    exceptions.ChangesPurged: Answer(
        410,
        "The changes since this token are not known any more: list all tasks",
        {"Link": '<{error.url}>; rel="collection"'},
    ),
    exceptions.EmailTaken: Answer(409, "Email already registered"),
    exceptions.EmailOfAnotherUser: Answer(409, "The token's email belongs to another account"),
    exceptions.TooManyFailedLogins: Answer(
        429, "Too many failed logins: try again later", RETRY_WHEN_TOLD
    ),
    exceptions.TooManySignups: Answer(429, "Too many sign-ups: try again later", RETRY_WHEN_TOLD),
    exceptions.TooManyIdempotencyKeys: Answer(
        429, "Too many idempotency keys: at most 10,000 in 24 hours", RETRY_WHEN_TOLD
    ),
    exceptions.TooManyRequests: Answer(
        429, "Too many requests at once: try again later", {"Retry-After": "1"}
    ),
    exceptions.PasswordsBusy: Answer(503, "Too many logins at once: try again later", RETRY),
    exceptions.IdentityProviderUnavailable: Answer(
        503, "The identity provider is not available", RETRY_WHEN_TOLD
    ),
    exceptions.DatabaseUnavailable: Answer(503, "The database is not available", RETRY),
    exceptions.IdentityRefused: Answer(503, "The database refuses this service's signature", RETRY),
    exceptions.MigrationsPending: Answer(503, "The database lacks migrations", RETRY),
    # Flask's own errors. Its texts name the library and its limits.
    http.BadRequest: Answer(400, "The request body is not valid JSON"),
    http.NotFound: Answer(404, "Not found"),
    http.MethodNotAllowed: Answer(405, "Method not allowed"),
    http.LengthRequired: Answer(411, "The request must say its length: send Content-Length"),
    http.RequestEntityTooLarge: Answer(
        413, "The request body is larger than 64 KiB, or 1 MiB for a batch"
    ),
    http.UnsupportedMediaType: Answer(415, "The request body must be declared as application/json"),
    http.InternalServerError: Answer(500, "Internal server error"),
}


def register_errors(app: Flask) -> None:
    """Answer every exception as JSON. One that isn't in the table is a bug: 500 and a traceback."""
    app.register_error_handler(exceptions.InvalidInput, answer_invalid_input)
    app.register_error_handler(exceptions.TaskApiError, answer_exception)
    app.register_error_handler(http.HTTPException, answer_http_exception)
    app.log_exception = log_bug  # type: ignore[method-assign]


def log_bug(exc_info: Any) -> None:
    """Log an unexpected exception. Flask's own message would contain the path."""
    logger.error("Unexpected exception", exc_info=exc_info)


def answer_invalid_input(error: exceptions.InvalidInput) -> tuple[Response, int, dict[str, str]]:
    """Return the 422 that lists each fault."""
    return render(422, "The request has faults", {}, {"errors": error.faults})


def answer_exception(error: exceptions.TaskApiError) -> tuple[Response, int, dict[str, str]]:
    """Return the response that the table has for the exception's class or its nearest base."""
    status, detail, headers, members = next(
        ANSWERS[base] for base in type(error).__mro__ if base in ANSWERS
    )
    if status >= 500:
        logger.warning("%s: %s", detail, error)
    elif error.__cause__ is not None:
        # The cause's class only: a library's message may quote a token.
        logger.debug("%s: %s", detail, type(error.__cause__).__name__)
    headers = {name: value.format(error=error) for name, value in headers.items()}
    return render(status, detail, headers, {name: getattr(error, name) for name in members})


def answer_http_exception(error: http.HTTPException) -> tuple[Response, int, dict[str, str]]:
    """Return JSON in place of Flask's HTML, with its status and headers, such as Allow."""
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    answer = ANSWERS.get(type(error))
    detail = answer.detail if answer else HTTP_STATUS_CODES.get(status, "Error")
    return render(status, detail, headers)


def render(
    status: int, detail: str, headers: dict[str, str], members: Mapping[str, Any] = {}
) -> tuple[Response, int, dict[str, str]]:
    """Return an error in the form that the request prefers."""
    body, media_type = describe(request.headers.get("Accept", ""), status, detail, members)
    response = jsonify(body)
    response.mimetype = media_type
    return response, status, headers


def describe(
    accept: str, status: int, detail: str, members: Mapping[str, Any] = {}
) -> tuple[dict[str, Any], str]:
    """Return an error's JSON object and media type for a request with this Accept header.

    `members` are what it has besides its sentence. The faults of a 422, `errors`, are problem
    details' name for them; else they take the sentence's place.
    """
    if prefers_problem(accept):
        title = HTTP_STATUS_CODES.get(status, "Error")
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        return {**problem, **members}, PROBLEM
    if "errors" in members:
        return {"detail": members["errors"]}, JSON
    return {"detail": detail, **members}, JSON


def prefers_problem(accept: str) -> bool:
    """Tell whether an Accept header names problem details, and prefers no JSON to them."""
    if PROBLEM not in accept.lower():
        return False
    weights: dict[str, float] = {}
    for media_range, weight in parse_accept_header(accept):
        name = media_range.partition(";")[0].lower()
        weights[name] = max(weight, weights.get(name, 0))
    json = next((weights[name] for name in (JSON, "application/*", "*/*") if name in weights), 0)
    return 0 < weights.get(PROBLEM, 0) >= json
