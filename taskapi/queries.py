"""The queries: each function runs the file in `sql/` that has its name."""

from __future__ import annotations

from typing import TypedDict

from psycopg import errors

from taskapi import db
from taskapi.exceptions import EmailOfAnotherUser, EmailTaken, UnknownUser


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


def list_tasks(*, user_id: str) -> list[Task]:
    """Return all tasks of the user, newest first."""
    return db.current().as_user(user_id).read("list_tasks")


def get_task(*, user_id: str, id: str) -> Task | None:
    """Return the user's task with this id, or None."""
    rows = db.current().as_user(user_id).read("get_task", id=id)
    return rows[0] if rows else None


def update_task(
    *, user_id: str, id: str, title: str, set_description: bool, description: str | None
) -> Task | None:
    """Change the title, and with `set_description` the description; None if there is no task."""
    rows = (
        db.current()
        .as_user(user_id)
        .write(
            "update_task",
            id=id,
            title=title,
            set_description=set_description,
            description=description,
        )
    )
    return rows[0] if rows else None


def complete_task(*, user_id: str, id: str, completed: bool | None) -> Task | None:
    """Set `completed`, or toggle it where it is None; None if there is no task."""
    rows = db.current().as_user(user_id).write("complete_task", id=id, completed=completed)
    return rows[0] if rows else None


def delete_task(*, user_id: str, id: str) -> bool:
    """Delete the user's task with this id; False if there was none."""
    return bool(db.current().as_user(user_id).write("delete_task", id=id))


def list_applied_migrations() -> list[str]:
    """Return the ids of the migrations that the database has."""
    try:
        rows = db.current().as_nobody().read("list_applied_migrations")
    except errors.UndefinedTable:
        return []
    return [row["migration_id"] for row in rows]
