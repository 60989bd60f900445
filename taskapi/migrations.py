"""The migrations: yoyo runs the files, this keeps it safe."""

from __future__ import annotations

import getpass
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import namedtuple_row
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table

from taskapi.sql_files import MIGRATIONS_DIR, STATEMENTS


class MigrationError(Exception):
    """Migrations can't be applied or undone; the message says why in one line."""


def apply_migrations(database_url: str) -> list[str]:
    """Apply all migrations that the database lacks and return their ids.

    Safe to run by several processes at once, and again after one was killed half way. Raises
    MigrationError.
    """
    with _locked_backend(database_url) as backend:
        pending = backend.to_apply(_released())
        with _one_line_errors():
            backend.apply_migrations(pending)
        return [migration.id for migration in pending]


def rollback_migrations(database_url: str, count: int | None = 1) -> list[str]:
    """Undo the last `count` migrations, None for all, and return their ids.

    Raises MigrationError.
    """
    with _locked_backend(database_url) as backend:
        applied = backend.to_rollback(_released())[:count]
        with _one_line_errors():
            backend.rollback_migrations(applied)
        return [migration.id for migration in applied]


def _released() -> Any:
    return read_migrations(glob.escape(str(MIGRATIONS_DIR)))


@contextmanager
def _locked_backend(database_url: str) -> Iterator[Any]:
    """Lend yoyo's backend while no other process migrates this database.

    yoyo's own lock is a row, which a killed process leaves behind: ours ends with its session, so
    that a row found under it is nobody's and can go.
    """
    _ensure_user_name()
    with _one_line_errors():
        lock = psycopg.connect(
            database_url, autocommit=True, row_factory=namedtuple_row, connect_timeout=10
        )
    with lock:
        _check_rights(lock)
        lock.execute(STATEMENTS["lock_migrations"])
        with _one_line_errors(), _backend(database_url) as backend:
            backend.init_database()
            backend.break_lock()
            with backend.lock():
                yield backend


def _backend(database_url: str) -> Any:
    """Connect yoyo. It can't read every libpq URI, so it gets libpq's own reading of it."""
    uri = DatabaseURI(
        scheme="postgresql+psycopg",
        username=None,
        password=None,
        hostname=None,
        port=None,
        database=None,
        args=conninfo_to_dict(database_url),
    )
    return PostgresqlPsycopgBackend(uri, default_migration_table)


def _check_rights(conn: psycopg.Connection[Any]) -> None:
    """Say what yoyo would only find out by waiting ten seconds and blaming its lock."""
    (rights,) = conn.execute(STATEMENTS["check_migration_rights"])
    if rights.is_standby:
        raise MigrationError("the server is a standby: name the primary in DATABASE_URL")
    if not rights.is_utf8:
        raise MigrationError("the database's encoding is not UTF8: create it with ENCODING 'UTF8'")
    if not rights.may_create:
        raise MigrationError(
            f"role {rights.role_name} may not create tables in schema {rights.schema_name}: "
            "grant it CREATE on the schema, or name the schema's owner in DATABASE_URL"
        )


def _ensure_user_name() -> None:
    """Give yoyo's log a name where the process's uid has none, as in a container."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        # Where PostgreSQL was when it failed is of no use to who reads the one line.
        parts = (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
        message = " ".join(filter(None, parts)) or str(error)
        raise MigrationError(" ".join(message.split())) from error
