"""The SQL files of this release: statements and migrations."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SQL_DIR = ROOT / "sql"
MIGRATIONS_DIR = ROOT / "migrations"


def _read(*paths: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(paths)}


# One statement a file, known by the file's name, which is unique in all folders. Those of
# sql/migrate run on the connections of the `migrate` commands, the others in the service's pool.
MIGRATION_STATEMENTS = _read(*SQL_DIR.glob("migrate/*.sql"))
STATEMENTS = _read(*set(SQL_DIR.rglob("*.sql")).difference(SQL_DIR.glob("migrate/*.sql")))


def released_migrations(folder: Path = MIGRATIONS_DIR) -> list[str]:
    """Return the ids of this release's migrations, in order."""
    names = (path.name for path in folder.glob("*.sql"))
    return sorted(name[: -len(".sql")] for name in names if not name.endswith(".rollback.sql"))
