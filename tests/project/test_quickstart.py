"""docs/quickstart.md, run as it stands: every command, and what it says that they print."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from embedded_postgres import find_programs

from tests.support.fixtures import MakeDatabase
from tests.support.service import PATIENCE, ROOT, SECRET, environment, free_port

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
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    expected = re.findall(r"^#> (.*)$", "".join(blocks), re.MULTILINE)
    assert len(blocks) > 15
    process = subprocess.Popen(
        ["bash", "-eu", "-o", "pipefail", "-c", "".join(blocks)],
        cwd=copy_checkout(tmp_path / "checkout"),
        env=environment(
            DATABASE_URL=make_database(),
            JWT_SECRET=SECRET,
            PORT=str(free_port()),
            METRICS_BIND=f"127.0.0.1:{free_port()}",
            PYTHON=sys.executable,
            PSQL=str(find_programs() / "psql"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=PATIENCE * 4)
    finally:
        # What it started ends with it, whatever has failed.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    assert process.returncode == 0, printed
    rest = printed
    for line in expected:
        pattern = re.escape(line).replace("…", ".*")
        found = re.search(pattern, rest)
        assert found, f"{line!r} isn't printed in its place:\n{printed}"
        rest = rest[found.end() :]
