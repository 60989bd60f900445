"""The SQL that this release consists of, as files: statements and migrations."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
SQL_DIR = ROOT / "sql"
MIGRATIONS_DIR = ROOT / "migrations"

# One statement each, known by the file's name.
STATEMENTS = {path.stem: path.read_bytes() for path in sorted(SQL_DIR.glob("*.sql"))}


def released_migrations() -> list[str]:
    """Return the ids of this release's migrations, in their order."""
    names = (path.name for path in MIGRATIONS_DIR.glob("*.sql"))
    return sorted(name[: -len(".sql")] for name in names if not name.endswith(".rollback.sql"))
