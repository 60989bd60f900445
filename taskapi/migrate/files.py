"""The files of migrations: names, checksums, rollback statements."""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path

import sqlparse

from taskapi.database.statements import MIGRATIONS_DIR, released_migrations

_ID = re.compile(r"[0-9]{4}\.[a-z0-9]+(-[a-z0-9]+)*")
_NAME = r'(?:[\w.]|"[^"]+")+'
_LOST_TABLES = re.compile(
    r"(?:DROP\s+TABLE|TRUNCATE(?:\s+TABLE)?|DELETE\s+FROM)\s+(?:IF\s+EXISTS\s+|ONLY\s+)*"
    rf"({_NAME}(?:\s*,\s*{_NAME})*)",
    re.IGNORECASE,
)
_ALTERED_TABLE = re.compile(rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+|ONLY\s+)*({_NAME})", re.IGNORECASE)
_LOST_COLUMN = re.compile(rf"\bDROP\s+COLUMN\s+(?:IF\s+EXISTS\s+)?({_NAME})", re.IGNORECASE)


class MigrationError(Exception):
    """A migration can't be applied or rolled back. The message says why in one line."""


def read_ids(folder: Path = MIGRATIONS_DIR) -> list[str]:
    """Return the ids of the folder's migrations, in order.

    Raises MigrationError for an invalid name, and for two migrations with the same number.
    """
    ids = released_migrations(folder)
    for id in ids:
        if not _ID.fullmatch(id):
            raise MigrationError(
                f"{id}.sql is not a valid name: migrations are named like 0007.add-a-column.sql"
            )
    for id, following in itertools.pairwise(ids):
        if number_of(id) == number_of(following):
            raise MigrationError(
                f"{id} and {following} have the same number: give the one that isn't applied "
                "anywhere the next free number"
            )
    return ids


def number_of(id: str) -> int:
    """Return the number that a migration's id starts with."""
    return int(id.partition(".")[0])


def checksum(id: str, folder: Path = MIGRATIONS_DIR) -> str:
    """Return the SHA-256 of the migration's file, as `sha256sum` prints it."""
    return hashlib.sha256((folder / f"{id}.sql").read_bytes()).hexdigest()


def rollback_statements(id: str, folder: Path = MIGRATIONS_DIR) -> list[str]:
    """Return the statements that roll the migration back.

    Raises MigrationError if there are none: yoyo would only remove its mark.
    """
    path = folder / f"{id}.rollback.sql"
    text = path.read_text() if path.exists() else ""
    statements = [code for code in sqlparse.split(text) if _strip_comments(code)]
    if not statements:
        raise MigrationError(f"{id} has no rollback: write {path.name} first")
    return statements


def find_losses(statement: str) -> list[tuple[str, str | None]]:
    """Return the tables and columns whose data the statement drops, as (table, column or None)."""
    code = _strip_comments(statement)
    if match := _LOST_TABLES.match(code):
        return [(name.strip(), None) for name in match[1].split(",")]
    if match := _ALTERED_TABLE.match(code):
        return [(match[1], column) for column in _LOST_COLUMN.findall(code)]
    return []


def create_migration(name: str, folder: Path = MIGRATIONS_DIR) -> tuple[Path, Path]:
    """Create the two files of a new migration, with the next number, and return their paths.

    Raises MigrationError for a name without letters and digits.
    """
    slug = "-".join(re.findall(r"[a-z0-9]+", name.lower()))
    if not slug:
        raise MigrationError(f"{name!r} can't be a migration's name: use ASCII letters and digits")
    numbers = [number_of(id) for id in read_ids(folder)]
    id = f"{max(numbers, default=0) + 1:04}.{slug}"
    apply, rollback = folder / f"{id}.sql", folder / f"{id}.rollback.sql"
    for path, comment in ((apply, "What it is for."), (rollback, f"Rolls back {id}.")):
        with path.open("x") as file:
            file.write(f"-- {comment}\n")
    return apply, rollback


def _strip_comments(code: str) -> str:
    return str(sqlparse.format(code, strip_comments=True)).strip()
