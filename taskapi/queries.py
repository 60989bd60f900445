"""The queries: each function runs the file in `sql/` that has its name."""

from __future__ import annotations

from typing import TypedDict

from psycopg import errors

from taskapi import db
from taskapi.exceptions import EmailTaken, UnknownUser


class User(TypedDict):
    """What a client may know of an account."""

    id: str
    email: str


class Credentials(User):
    """What login needs to know of an account."""

    password_hash: str


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


def find_user(*, email: str) -> Credentials | None:
    """Return the account with this address, whatever its case."""
    rows = db.current().as_login(email).read("find_user")
    return rows[0] if rows else None


def create_task(*, user_id: str, title: str, description: str | None, completed: bool) -> Task:
    """Create a task. Raises UnknownUser if the account is gone."""
    try:
        rows = (
            db.current()
            .as_user(user_id)
            .write("create_task", title=title, description=description, completed=completed)
        )
    except errors.ForeignKeyViolation as error:
        if error.diag.constraint_name == "tasks_user_id_fkey":
            raise UnknownUser from error
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
