"""docs/quickstart.md, run as it stands: every command, and what it says that they print."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from embedded_postgres import find_programs

from tests.support.fixtures import MakeDatabase
from tests.support.pages import assert_printed, read_blocks, run_commands
from tests.support.service import ROOT, SECRET, environment, free_port

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "quickstart.md").read_text()


def copy_checkout(folder: Path) -> Path:
    """Copy what the commands need; they add a migration to it."""
    for name in ("taskapi", "migrations", "sql"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("gunicorn.conf.py", "wsgi.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_every_command_prints_what_the_page_says(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    assert len(read_blocks(PAGE)) > 15
    variables = environment(
        DATABASE_URL=make_database(),
        JWT_SECRET=SECRET,
        PORT=str(free_port()),
        METRICS_BIND=f"127.0.0.1:{free_port()}",
        PYTHON=sys.executable,
        PSQL=str(find_programs() / "psql"),
    )
    assert_printed(PAGE, run_commands(PAGE, copy_checkout(tmp_path / "checkout"), variables))
