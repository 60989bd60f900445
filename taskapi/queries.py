"""The queries: each function runs the file in `sql/` that has its name."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from psycopg import errors

from taskapi import db
from taskapi.exceptions import (
    EmailOfAnotherUser,
    EmailTaken,
    IdempotencyKeyReused,
    TaskChanged,
    UnknownUser,
)


class User(TypedDict):
    """What a client may know of an account."""

    id: str
    email: str


class LoginAttempt(TypedDict):
    """A try to log in: when it was counted, if it was, and the account of its address, if any."""

    tried_at: str | None
    retry_after: int | None
    id: str | None
    email: str | None
    password_hash: str | None


class Task(TypedDict):
    """A task as clients see it; timestamps are RFC 3339 in UTC with microseconds."""

    id: str
    user_id: str
    title: str
    description: str | None
    completed: bool
    created_at: str
    updated_at: str


class Position(NamedTuple):
    """A place in the order of a list: that of the task with these members."""

    created_at: str
    id: str


class Creation(NamedTuple):
    """A task as it was when it was made, and whether an earlier request made it."""

    task: Task
    is_replay: bool


# The values of `updated_at` that a task may have for a write to be done; None for any.
Versions = list[datetime] | None


def create_user(*, email: str, password_hash: str) -> User:
    """Create an account. Raises EmailTaken."""
    try:
        rows = db.current().as_login(email).write("create_user", password_hash=password_hash)
    except errors.UniqueViolation as error:
        if error.diag.constraint_name == "users_email_key":
            raise EmailTaken from error
        raise
    user: User = rows[0]
    return user


def register_login_attempt(*, email: str, client: str) -> LoginAttempt:
    """Count a try to log in and return the account with this address, whatever its case.

    `retry_after` is None, or the seconds for which this client or address has failed too often.
    """
    attempt: LoginAttempt
    [attempt] = db.current().as_login(email).write("register_login_attempt", client=client)
    return attempt


def take_back_login_attempt(*, email: str, client: str, tried_at: str) -> None:
    """Don't count a try that was no failure."""
    db.current().as_login(email).write("take_back_login_attempt", client=client, tried_at=tried_at)


def update_password_hash(*, email: str, old_hash: str, new_hash: str) -> bool:
    """Replace the hash of an unchanged password; False if it isn't the account's any more."""
    rows = (
        db.current()
        .as_login(email)
        .write("update_password_hash", old_hash=old_hash, new_hash=new_hash)
    )
    return bool(rows)


def create_task(
    *,
    user_id: str,
    provider_email: str | None,
    title: str,
    description: str | None,
    completed: bool,
) -> Task:
    """Create a task, and with `provider_email` its user too, if there is none yet.

    Raises UnknownUser if the account is gone, and EmailOfAnotherUser.
    """
    try:
        rows = (
            db.current()
            .as_user(user_id)
            .write(
                "create_task",
                provider_email=provider_email,
                title=title,
                description=description,
                completed=completed,
            )
        )
    except errors.ForeignKeyViolation as error:
        if error.diag.constraint_name == "tasks_user_id_fkey":
            raise (UnknownUser if provider_email is None else EmailOfAnotherUser) from error
        raise
    task: Task = rows[0]
    return task


def create_task_once(
    *,
    key: str,
    request_hash: bytes,
    user_id: str,
    provider_email: str | None,
    title: str,
    description: str | None,
    completed: bool,
) -> Creation:
    """Create a task as `create_task` does, unless the user's key has made one.

    Raises IdempotencyKeyReused if the key was for a request with another hash.
    """
    try:
        [row] = (
            db.current()
            .as_user(user_id)
            .write(
                "create_task_once",
                key=key,
                request_hash=request_hash,
                provider_email=provider_email,
                title=title,
                description=description,
                completed=completed,
            )
        )
    except errors.ForeignKeyViolation as error:
        if error.diag.constraint_name == "idempotency_keys_user_id_fkey":
            raise (UnknownUser if provider_email is None else EmailOfAnotherUser) from error
        raise
    if not row["is_same_request"]:
        raise IdempotencyKeyReused
    # As it was when it was made, whatever has become of it since.
    task: Task = {
        "id": row["id"],
        "user_id": row["user_id"],
        "title": title,
        "description": description,
        "completed": completed,
        "created_at": row["created_at"],
        "updated_at": row["created_at"],
    }
    return Creation(task, is_replay=row["is_replay"])


def purge_idempotency_keys() -> int:
    """Delete some of the keys that are older than 24 hours and return how many."""
    [row] = db.current().as_purger().write("purge_idempotency_keys")
    deleted: int = row["deleted_keys"]
    return deleted


def list_tasks(
    *,
    user_id: str,
    after: Position | None,
    completed: bool | None,
    q: str | None,
    limit: int,
) -> list[Task]:
    """Return up to `limit` tasks after a position, newest first; None for what doesn't matter."""
    return (
        db.current()
        .as_user(user_id)
        .read(
            "list_tasks",
            after_created_at=after and after.created_at,
            after_id=after and after.id,
            completed=completed,
            q=q,
            limit=limit,
        )
    )


def list_tasks_oldest_first(
    *,
    user_id: str,
    after: Position | None,
    completed: bool | None,
    q: str | None,
    limit: int,
) -> list[Task]:
    """Return up to `limit` tasks after a position, oldest first; None for what doesn't matter."""
    return (
        db.current()
        .as_user(user_id)
        .read(
            "list_tasks_oldest_first",
            after_created_at=after and after.created_at,
            after_id=after and after.id,
            completed=completed,
            q=q,
            limit=limit,
        )
    )


def get_task(*, user_id: str, id: str) -> Task | None:
    """Return the user's task with this id, or None."""
    rows = db.current().as_user(user_id).read("get_task", id=id)
    return rows[0] if rows else None


def update_task(
    *,
    user_id: str,
    id: str,
    title: str | None,
    set_description: bool,
    description: str | None,
    completed: bool | None,
    versions: Versions,
) -> Task | None:
    """Change the title and `completed` unless they are None, and with `set_description` that.

    Returns None if there is no task. Raises TaskChanged.
    """
    rows = (
        db.current()
        .as_user(user_id)
        .write(
            "update_task",
            id=id,
            title=title,
            set_description=set_description,
            description=description,
            completed=completed,
            versions=versions,
        )
    )
    task: Task | None = _written(rows)
    return task


def complete_task(
    *, user_id: str, id: str, completed: bool | None, versions: Versions
) -> Task | None:
    """Set `completed`, or toggle it where it is None.

    Returns None if there is no task. Raises TaskChanged.
    """
    rows = (
        db.current()
        .as_user(user_id)
        .write("complete_task", id=id, completed=completed, versions=versions)
    )
    task: Task | None = _written(rows)
    return task


def delete_task(*, user_id: str, id: str, versions: Versions) -> bool:
    """Delete the user's task with this id; False if there was none. Raises TaskChanged."""
    rows = db.current().as_user(user_id).write("delete_task", id=id, versions=versions)
    return _written(rows) is not None


def _written(rows: list[Any]) -> Any:
    """Return the row of a task that was written, or None if there was none to write.

    Raises TaskChanged if the task was there, but in another version than the statement was for.
    """
    if rows and rows[0]["id"] is None:
        raise TaskChanged
    return rows[0] if rows else None


def list_applied_migrations() -> list[str]:
    """Return the ids of the migrations that the database has."""
    try:
        rows = db.current().as_nobody().read("list_applied_migrations")
    except errors.UndefinedTable:
        return []
    return [row["migration_id"] for row in rows]
