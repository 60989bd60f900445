"""The migrations' files: their names, their checksums, the SQL of their ways back."""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path

import sqlparse

from taskapi.sql_files import MIGRATIONS_DIR, released_migrations

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
    """Migrations can't be applied or undone; the message says why in one line."""


def read_ids(folder: Path = MIGRATIONS_DIR) -> list[str]:
    """Return the ids of the folder's migrations, in their order.

    Raises MigrationError for a name that isn't one, and for two migrations with one number.
    """
    ids = released_migrations(folder)
    for id in ids:
        if not _ID.fullmatch(id):
            raise MigrationError(
                f"{id}.sql is no migration's name: it is like 0007.add-a-column.sql"
            )
    for id, following in itertools.pairwise(ids):
        if number_of(id) == number_of(following):
            raise MigrationError(
                f"{id} and {following} have one number: give the one that isn't applied anywhere "
                "the next free number"
            )
    return ids


def number_of(id: str) -> int:
    """Return the number that a migration's id starts with."""
    return int(id.partition(".")[0])


def checksum(id: str, folder: Path = MIGRATIONS_DIR) -> str:
    """Return the SHA-256 of the migration's file, as `sha256sum` prints it."""
    return hashlib.sha256((folder / f"{id}.sql").read_bytes()).hexdigest()


def rollback_statements(id: str, folder: Path = MIGRATIONS_DIR) -> list[str]:
    """Return the statements that undo the migration.

    Raises MigrationError if there are none: yoyo would take the mark away and leave the rest.
    """
    path = folder / f"{id}.rollback.sql"
    text = path.read_text() if path.exists() else ""
    statements = [code for code in sqlparse.split(text) if _strip_comments(code)]
    if not statements:
        raise MigrationError(f"{id} has no way back: write {path.name} first")
    return statements


def find_losses(statement: str) -> list[tuple[str, str | None]]:
    """Return the tables whose rows the statement drops, and the columns, as (table, column)."""
    code = _strip_comments(statement)
    if match := _LOST_TABLES.match(code):
        return [(name.strip(), None) for name in match[1].split(",")]
    if match := _ALTERED_TABLE.match(code):
        return [(match[1], column) for column in _LOST_COLUMN.findall(code)]
    return []


def create_migration(name: str, folder: Path = MIGRATIONS_DIR) -> tuple[Path, Path]:
    """Make the pair of files of a new migration, with the next number, and return their paths.

    Raises MigrationError if nothing can be made of the name.
    """
    slug = "-".join(re.findall(r"[a-z0-9]+", name.lower()))
    if not slug:
        raise MigrationError(f"{name!r} can't be a migration's name: say what it does, in ASCII")
    numbers = [number_of(id) for id in read_ids(folder)]
    id = f"{max(numbers, default=0) + 1:04}.{slug}"
    way_up, way_back = folder / f"{id}.sql", folder / f"{id}.rollback.sql"
    for path, comment in ((way_up, "What it is for."), (way_back, f"The way back from {id}.")):
        with path.open("x") as file:
            file.write(f"-- {comment}\n")
    return way_up, way_back


def _strip_comments(code: str) -> str:
    return str(sqlparse.format(code, strip_comments=True)).strip()
