"""Tasks in the database: each function runs the file of its name in sql/tasks/.

A task is a dictionary with the columns that the SQL returns. Timestamps are RFC 3339 in UTC with
microseconds. `members` and `changes` are what a schema of `tasks/schemas.py` has checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from psycopg import errors
from psycopg.types.json import Jsonb

from taskapi import config
from taskapi.database import pool
from taskapi.database.pool import Violation
from taskapi.exceptions import (
    BatchTooLarge,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    TaskChanged,
    TooManyIdempotencyKeys,
    TooManyTasks,
    UnknownUser,
)
from taskapi.tasks.etags import Task, Versions, tag_task

Members = Mapping[str, Any]


class Position(NamedTuple):
    """A task's position in the order of a list: the value of the column that it goes by, the id."""

    value: str
    id: str


FIRST_ID, LAST_ID = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"

# Before the first task of each order. Values rather than conditions, because under row-level
# security the planner uses an index only for comparisons with the index's own operators.
NEWEST = Position("infinity", LAST_ID)
OLDEST = Position("-infinity", FIRST_ID)
FIRST_DUE = Position("-infinity", FIRST_ID)
TOP = Position("", FIRST_ID)

# Where a list has tasks without the value that it goes by: after all others.
ABSENT = {"due_on": "infinity", "position": "~"}

# The most that a page has, in bytes of JSON.
MAX_PAGE_BYTES = 2 * 1024 * 1024
# The most tasks that are read for a page with a filter, by the list's order. Tasks that were
# created one after another are beside each other on the disk; others may be anywhere.
MAX_CANDIDATES = {"created_at": 10_000, "due_on": 2_500, "position": 2_500}

# What a list returns besides a task.
ABOUT_A_LIST = ("is_match", "is_end", "page_bytes")
# What list_changes returns besides a task.
ABOUT_A_CHANGE = (
    *("task_id", "changed_at", "is_deleted", "is_full"),
    *("epoch", "clock_at", "is_purged"),
)

# What it means if a task can't be created.
VIOLATIONS = (
    Violation(errors.ForeignKeyViolation, "tasks_user_id_fkey", UnknownUser),
    Violation(errors.ForeignKeyViolation, "idempotency_keys_user_id_fkey", UnknownUser),
    # The trigger's that counts a user's tasks.
    Violation(errors.IntegrityConstraintViolation, "tasks_of_user_max", TooManyTasks),
)

# How often a statement is run that has written nothing, because a task has appeared meanwhile.
TRIES = 5


class Page(NamedTuple):
    """A page of a list, and the position where the next one starts, or None."""

    tasks: list[Task]
    next: Position | None


class FeedPosition(NamedTuple):
    """A position in a user's change feed: after the change of this time and task."""

    epoch: str
    at: str
    id: str


class Changes(NamedTuple):
    """A page of the change feed, the position after it, and whether there is more by now."""

    changes: list[Task]
    next: FeedPosition
    more: bool


class BatchResult(NamedTuple):
    """Each operation's status and task, whose members are null if there is none to show."""

    outcomes: list[tuple[int, Task]]
    is_written: bool


class Creation(NamedTuple):
    """A task as it was created, and whether an earlier request created it."""

    task: Task
    is_replay: bool


def create_task(*, user_id: str, members: Members) -> Task:
    """Create a task. Raises UnknownUser if there is no such user, and TooManyTasks."""
    task: Task
    [task] = pool.current().as_user(user_id).write("create_task", *VIOLATIONS, members=members)
    return task


def create_task_once(
    *,
    key: str,
    request_hash: bytes,
    user_id: str,
    members: Members,
) -> Creation:
    """Create a task as `create_task` does, unless the user's idempotency key has created one.

    Raises also IdempotencyKeyReused if the key belongs to a request with another hash, and
    TooManyIdempotencyKeys if it is new and the user has as many as the service keeps.
    """
    [row] = (
        pool.current()
        .as_user(user_id)
        .write("create_task_once", *VIOLATIONS, key=key, request_hash=request_hash, members=members)
    )
    is_same_request, is_replay = row.pop("is_same_request"), row.pop("is_replay")
    retry_after = row.pop("retry_after")
    if retry_after is not None:
        raise TooManyIdempotencyKeys(retry_after)
    if not is_same_request:
        raise IdempotencyKeyReused
    return Creation(row, is_replay)


def put_task(*, user_id: str, id: str, members: Members) -> Task:
    """Create a task with this id.

    Raises as `create_task` does, and TaskChanged if the user has a task with this id.
    """
    for _ in range(TRIES):
        rows: list[Task] = (
            pool.current().as_user(user_id).write("put_task", *VIOLATIONS, id=id, members=members)
        )
        if rows:
            return rows[0]
        if task := get_task(user_id=user_id, id=id):
            raise TaskChanged(task, tag_task(task))
    raise DatabaseUnavailable("put_task: the task comes and goes")


def list_tasks(*, user_id: str, after: Position | None, limit: int, **filters: Any) -> Page:
    """Return up to `limit` tasks after a position, newest first. A filter of None accepts all."""
    return _list("list_tasks", "created_at", user_id, after or NEWEST, limit=limit, filters=filters)


def list_tasks_oldest_first(
    *, user_id: str, after: Position | None, limit: int, **filters: Any
) -> Page:
    """Return up to `limit` tasks after a position, oldest first. A filter of None accepts all."""
    return _list(
        "list_tasks_oldest_first",
        "created_at",
        user_id,
        after or OLDEST,
        limit=limit,
        filters=filters,
    )


def list_tasks_by_due_on(
    *, user_id: str, after: Position | None, limit: int, **filters: Any
) -> Page:
    """Return up to `limit` tasks after a position, by due date, those without one last."""
    return _list(
        "list_tasks_by_due_on", "due_on", user_id, after or FIRST_DUE, limit=limit, filters=filters
    )


def list_tasks_by_position(
    *, user_id: str, after: Position | None, limit: int, **filters: Any
) -> Page:
    """Return up to `limit` tasks after a position, in manual order, those without one last."""
    return _list(
        "list_tasks_by_position", "position", user_id, after or TOP, limit=limit, filters=filters
    )


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


def list_changes(*, user_id: str, since: FeedPosition | None, limit: int) -> Changes | None:
    """Return up to `limit` changes after a position; without one, none and the position of now.

    A change is a task, or a deletion: `{"id", "deleted": True}`. Returns None if the changes since
    the position are not known any more.
    """
    rows = (
        pool.current()
        .as_user(user_id)
        .read(
            "list_changes",
            after_at=since.at if since else NEWEST.value,
            after_id=since.id if since else NEWEST.id,
            limit=limit,
            max_bytes=MAX_PAGE_BYTES,
        )
    )
    epoch, clock_at = rows[0]["epoch"], rows[0]["clock_at"]
    if since is None:
        return Changes([], FeedPosition(epoch, clock_at, NEWEST.id), False)
    if epoch != since.epoch or rows[0]["is_purged"]:
        return None
    changes: list[Task] = []
    for row in rows:
        about = {name: row.pop(name) for name in ABOUT_A_CHANGE}
        id = about["task_id"]
        if id is None:
            break
        if len(changes) == limit:
            return Changes(changes, since, True)
        since = FeedPosition(epoch, about["changed_at"], id)
        changes.append({"id": id, "deleted": True} if about["is_deleted"] else row)
        if about["is_full"]:
            return Changes(changes, since, True)
    # All changes of one time are shown at once, so no other one of this time will come.
    return Changes(changes, since._replace(id=NEWEST.id), False)


def write_batch(*, user_id: str, operations: list[Members], atomic: bool) -> BatchResult:
    """Do what the operations say, in one transaction; with `atomic`, all of them or none.

    An operation has `op`, and `id`, `members` and `versions` as `sql/tasks/write_batch.sql` has
    them. Raises BatchTooLarge, UnknownUser and TooManyTasks.
    """
    for _ in range(TRIES):
        try:
            rows = (
                pool.current()
                .as_user(user_id)
                .write(
                    "write_batch",
                    *VIOLATIONS,
                    operations=Jsonb(operations, dumps=orjson.dumps),
                    atomic=atomic,
                    max_bytes=MAX_PAGE_BYTES,
                )
            )
        except errors.UniqueViolation:
            continue  # a task was created meanwhile, and nothing was written
        if rows and rows[0]["is_too_large"]:
            raise BatchTooLarge
        is_written = not rows or rows[0]["is_written"]
        for row in rows:
            del row["is_written"], row["is_too_large"]
        return BatchResult([(row.pop("status"), row) for row in rows], is_written)
    raise DatabaseUnavailable("write_batch: its tasks come and go")


def _list(
    name: str, column: str, user_id: str, after: Position, *, limit: int, filters: Members
) -> Page:
    """Return the page of a list after a position in the order of a column."""
    is_filtered = any(value is not None for value in filters.values())
    # A search has a time limit of its own.
    is_search = filters.get("q") is not None
    rows = (
        pool.current()
        .as_user(user_id)
        .within(config.current().db_search_timeout if is_search else math.inf)
        .read(
            name,
            **{f"after_{column}": after.value},
            after_id=after.id,
            candidates=MAX_CANDIDATES[column] if is_filtered else limit + 1,
            limit=limit,
            max_bytes=MAX_PAGE_BYTES,
            **filters,
        )
    )

    def position(task: Task) -> Position:
        value = task[column]
        return Position(ABSENT[column] if value is None else value, task["id"])

    tasks: list[Task] = []
    next = None
    page_bytes = 0
    for row in rows:
        is_match, is_end, page_bytes = (row.pop(name) for name in ABOUT_A_LIST)
        if len(tasks) == limit:
            next = position(tasks[-1])
            break
        if is_match:
            tasks.append(row)
        if is_end or page_bytes >= MAX_PAGE_BYTES:
            next = position(row)
    # In JSON a character of a text has at most six times its bytes, and all but the texts 600.
    if 6 * page_bytes + 600 * len(tasks) > MAX_PAGE_BYTES:
        fitting = _cut(tasks)
        if len(fitting) < len(tasks):
            return Page(fitting, position(fitting[-1]))
    return Page(tasks, next)


def _cut(tasks: list[Task]) -> list[Task]:
    """Return the first tasks, up to the one with which their JSON reaches MAX_PAGE_BYTES."""
    size = 0
    for number, task in enumerate(tasks, 1):
        size += len(orjson.dumps(task)) + len(",")
        if size >= MAX_PAGE_BYTES:
            return tasks[:number]
    return tasks


def _written(rows: list[Task]) -> Task | None:
    """Return the row that was written, or None if there was none to write.

    Raises TaskChanged if the task exists, but not in a version that the statement was for.
    """
    if not rows:
        return None
    [task] = rows
    if not task.pop("is_written"):
        raise TaskChanged(task, tag_task(task))
    return task
