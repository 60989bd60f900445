"""What holds of every answer of one kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import httpx

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
POSITION = re.compile(r"[0-9A-Za-z]{1,64}")
MEMBERS = {
    *("id", "user_id", "title", "description", "completed", "due_on", "priority", "labels"),
    *("position", "completed_at", "created_at", "updated_at"),
}

# What would give away what is inside: SQL, names of the schema, libraries, paths, tracebacks.
INTERNALS = re.compile(
    r"psycopg|postgres|werkzeug|flask|marshmallow|orjson|argon|jwt\b|gunicorn|yoyo|sqlstate"
    r"|\bselect\b|insert into|update tasks|constraint|_pkey|_fkey|_check\b|_key\b|traceback"
    r'|file "|\.py\b|/usr|/home|site-packages|exception',
    re.IGNORECASE,
)


def assert_task(task: dict[str, Any]) -> None:
    """A task has its members, of the right types and forms."""
    assert set(task) == MEMBERS
    assert UUID.fullmatch(task["id"])
    assert UUID.fullmatch(task["user_id"])
    assert isinstance(task["title"], str)
    assert task["description"] is None or isinstance(task["description"], str)
    assert isinstance(task["completed"], bool)
    assert task["due_on"] is None or DATE.fullmatch(task["due_on"])
    assert task["priority"] in range(10)
    assert all(isinstance(label, str) for label in task["labels"])
    assert task["position"] is None or POSITION.fullmatch(task["position"])
    assert task["completed"] == (task["completed_at"] is not None)
    assert task["completed_at"] is None or TIMESTAMP.fullmatch(task["completed_at"])
    assert TIMESTAMP.fullmatch(task["created_at"])
    assert TIMESTAMP.fullmatch(task["updated_at"])


# What an error has besides its sentence.
ERROR_MEMBERS = {409: {"results"}, 412: {"current"}}


def assert_error(response: httpx.Response, status: int, detail: str | None = None) -> None:
    """An error is JSON with a sentence, bears a request id, and shows nothing internal."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Request-ID"]
    body = response.json()
    assert set(body) - ERROR_MEMBERS.get(status, set()) == {"detail"}
    assert not INTERNALS.search(response.text), response.text
    if status == 422:
        assert isinstance(body["detail"], list)
        assert body["detail"]
        for entry in body["detail"]:
            assert set(entry) == {"loc", "msg", "type"}
            assert entry["loc"][0] in ("body", "path", "query", "header")
            assert entry["msg"]
            assert entry["type"] in ("value_error", "value_error.missing")
    else:
        assert isinstance(body["detail"], str)
        assert body["detail"]
    if status == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
    if status == 503:
        assert int(response.headers["Retry-After"]) > 0
    if detail is not None:
        assert body["detail"] == detail


def assert_faults(
    response: httpx.Response, *locs: Sequence[str | int], missing: bool = False
) -> None:
    """A 422 that names exactly these places."""
    assert_error(response, 422)
    detail = response.json()["detail"]
    assert sorted((entry["loc"] for entry in detail), key=repr) == sorted(
        map(list, locs), key=repr
    ), detail
    kind = "value_error.missing" if missing else "value_error"
    assert {entry["type"] for entry in detail} == {kind}, detail
