"""Tasks in the database: each function runs the file of its name in sql/tasks/.

A task is a dictionary with the columns that the SQL returns. Timestamps are RFC 3339 in UTC with
microseconds. `members` and `changes` are what a schema of `tasks/schemas.py` has checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from taskapi import config
from taskapi.database import pool
from taskapi.exceptions import (
    EmailOfAnotherUser,
    IdempotencyKeyReused,
    TaskChanged,
    TooManyIdempotencyKeys,
    UnknownUser,
)

Task = dict[str, Any]
Members = Mapping[str, Any]

# The values of `updated_at` that a task may have for it to be written; None for any.
Versions = list[datetime] | None


class Position(NamedTuple):
    """A task's position in the order of a list."""

    created_at: str
    id: str


# Before the first task of each order. Values rather than conditions, because under row-level
# security the planner uses an index only for comparisons with the index's own operators.
NEWEST = Position("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")
OLDEST = Position("-infinity", "00000000-0000-0000-0000-000000000000")

# The most that a page has, in bytes of JSON, and the most tasks that are read for it.
MAX_PAGE_BYTES = 2 * 1024 * 1024
MAX_CANDIDATES = 10_000


class Page(NamedTuple):
    """A page of a list, and the position where the next one starts, or None."""

    tasks: list[Task]
    next: Position | None


class Creation(NamedTuple):
    """A task as it was created, and whether an earlier request created it."""

    task: Task
    is_replay: bool


def create_task(*, user_id: str, provider_email: str | None, members: Members) -> Task:
    """Create a task and, with `provider_email`, its user if the user does not exist.

    Raises UnknownUser if the account is gone, and EmailOfAnotherUser.
    """
    task: Task
    [task] = (
        pool.current()
        .as_user(user_id)
        .write(
            "create_task",
            {"tasks_user_id_fkey": _missing_user(provider_email)},
            provider_email=provider_email,
            members=members,
        )
    )
    return task


def create_task_once(
    *,
    key: str,
    request_hash: bytes,
    user_id: str,
    provider_email: str | None,
    members: Members,
) -> Creation:
    """Create a task as `create_task` does, unless the user's idempotency key has created one.

    Raises also IdempotencyKeyReused if the key belongs to a request with another hash, and
    TooManyIdempotencyKeys if it is new and the user has as many as the service keeps.
    """
    [row] = (
        pool.current()
        .as_user(user_id)
        .write(
            "create_task_once",
            {"idempotency_keys_user_id_fkey": _missing_user(provider_email)},
            key=key,
            request_hash=request_hash,
            provider_email=provider_email,
            members=members,
        )
    )
    is_same_request, is_replay = row.pop("is_same_request"), row.pop("is_replay")
    retry_after = row.pop("retry_after")
    if retry_after is not None:
        raise TooManyIdempotencyKeys(retry_after)
    if not is_same_request:
        raise IdempotencyKeyReused
    return Creation(row, is_replay)


def list_tasks(*, user_id: str, after: Position | None, limit: int, **filters: Any) -> Page:
    """Return up to `limit` tasks after a position, newest first. A filter of None accepts all."""
    rows = (
        pool.current()
        .as_user(user_id)
        .within(_limit_search(filters))
        .read("list_tasks", **_extent(after or NEWEST, limit, filters), **filters)
    )
    return _page(rows, limit)


def list_tasks_oldest_first(
    *, user_id: str, after: Position | None, limit: int, **filters: Any
) -> Page:
    """Return up to `limit` tasks after a position, oldest first. A filter of None accepts all."""
    rows = (
        pool.current()
        .as_user(user_id)
        .within(_limit_search(filters))
        .read("list_tasks_oldest_first", **_extent(after or OLDEST, limit, filters), **filters)
    )
    return _page(rows, limit)


def get_task(*, user_id: str, id: str) -> Task | None:
    """Return the user's task with this id, or None."""
    rows = pool.current().as_user(user_id).read("get_task", id=id)
    return rows[0] if rows else None


def update_task(
    *, user_id: str, id: str, changes: Members, keep_title: bool, versions: Versions
) -> Task | None:
    """Set the members that `changes` has.

    With `keep_title`, a task that doesn't have the title of `changes` already is not found. Returns
    None if there is no task. Raises TaskChanged.
    """
    rows = (
        pool.current()
        .as_user(user_id)
        .write("update_task", id=id, changes=changes, keep_title=keep_title, versions=versions)
    )
    return _written(rows)


def complete_task(
    *, user_id: str, id: str, completed: bool | None, versions: Versions
) -> Task | None:
    """Set `completed`, or toggle it if it is None.

    Returns None if there is no task. Raises TaskChanged.
    """
    rows = (
        pool.current()
        .as_user(user_id)
        .write("complete_task", id=id, completed=completed, versions=versions)
    )
    return _written(rows)


def delete_task(*, user_id: str, id: str, versions: Versions) -> bool:
    """Delete the user's task with this id. Returns False if there is none. Raises TaskChanged."""
    rows = pool.current().as_user(user_id).write("delete_task", id=id, versions=versions)
    return _written(rows) is not None


def _extent(after: Position, limit: int, filters: Members) -> dict[str, Any]:
    """Return where a page starts, and how much it may have."""
    is_filtered = any(value is not None for value in filters.values())
    return {
        "after_created_at": after.created_at,
        "after_id": after.id,
        "candidates": MAX_CANDIDATES if is_filtered else limit + 1,
        "limit": limit,
        "max_bytes": MAX_PAGE_BYTES,
    }


def _limit_search(filters: Members) -> float:
    """Return how many seconds a list may take: a search has a limit of its own."""
    return config.current().db_search_timeout if filters.get("q") is not None else math.inf


def _page(rows: list[dict[str, Any]], limit: int) -> Page:
    """Return the page that the rows of a list make."""
    tasks: list[Task] = []
    next = None
    for row in rows:
        is_match, is_end, is_full = (row.pop(name) for name in ("is_match", "is_end", "is_full"))
        if len(tasks) == limit:
            next = Position(tasks[-1]["created_at"], tasks[-1]["id"])
            break
        if is_match:
            tasks.append(row)
        if is_end or is_full:
            next = Position(row["created_at"], row["id"])
    return Page(tasks, next)


def _missing_user(provider_email: str | None) -> type[Exception]:
    """Return what it means that a task's user does not exist.

    An identity provider's user is created with the task, unless another account has the email.
    """
    return UnknownUser if provider_email is None else EmailOfAnotherUser


def _written(rows: list[Task]) -> Task | None:
    """Return the row that was written, or None if there was none to write.

    Raises TaskChanged if the task exists, but not in a version that the statement was for.
    """
    if rows and rows[0]["id"] is None:
        raise TaskChanged
    return rows[0] if rows else None
