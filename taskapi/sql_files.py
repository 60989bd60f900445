"""The SQL that this release consists of, as files: statements and migrations."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
SQL_DIR = ROOT / "sql"
MIGRATIONS_DIR = ROOT / "migrations"


def _read(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.sql"))}


# One statement each, known by the file's name: the service's, and what the migrations' commands
# run on connections of their own.
STATEMENTS = _read(SQL_DIR)
MIGRATION_STATEMENTS = _read(SQL_DIR / "migrations")


def released_migrations(folder: Path = MIGRATIONS_DIR) -> list[str]:
    """Return the ids of this release's migrations, in their order."""
    names = (path.name for path in folder.glob("*.sql"))
    return sorted(name[: -len(".sql")] for name in names if not name.endswith(".rollback.sql"))
