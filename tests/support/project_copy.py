"""A copy of the project, to be changed as CONTRIBUTING.md says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from taskapi.database.statements import released_migrations
from taskapi.migrate.files import number_of
from tests.support.service import ROOT, run_command

# Nothing is measured in a copy, which is gone when the coverage is reported.
UNMEASURED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}

# ```sql new PATH, with the file's text; ```diff PATH ..., with lines that begin with " ", "-", "+"
BLOCK = re.compile(r"^```(sql new|diff) (\S[^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def copy_project(folder: Path) -> Path:
    """Copy the service, its tests and its settings into a new folder, and return it."""
    for name in ("taskapi", "sql", "migrations", "deploy", "tests", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "gunicorn.conf.py", "pyproject.toml", ".env.example", ".sqlfluff"):
        shutil.copy(ROOT / name, folder)
    return folder


def follow_recipe(folder: Path, title: str) -> list[str]:
    """Do what a recipe of CONTRIBUTING.md says, and return the files that were touched."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    # The recipes leave the number to `migrate new`.
    next_number = f"{max(map(number_of, released_migrations(folder / 'migrations'))) + 1:04}"
    recipe = page.partition(f"\n### {title}\n")[2].partition("\n##")[0]
    touched = []
    for kind, names, text in BLOCK.findall(recipe):
        for name in names.split():
            path = folder / name.replace("NNNN", next_number)
            if kind == "sql new":
                assert not path.exists()
                path.write_text(text)
            else:
                _apply(path, text.splitlines())
            touched.append(name)
    assert touched, title
    return touched


def migrate_copy(folder: Path, database_url: str) -> None:
    """Apply the migrations of a copy."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r});"
        "from taskapi.migrate.run import apply_migrations;"
        f"print(apply_migrations({database_url!r}))"
    )
    done = run_command("-I", "-c", code)
    assert done.returncode == 0, done.stderr


def check_copy(folder: Path, server_url: str, *tests: str) -> None:
    """Run linters and some tests of a copy."""
    for args in (
        ["ruff", "check", "--no-cache", "taskapi", "tests"],
        ["ruff", "format", "--no-cache", "--check", "taskapi", "tests"],
        ["sqlfluff", "lint", "sql", "migrations"],
        *(["pytest", "-q", "-p", "no:cacheprovider", test] for test in tests),
    ):
        done = run_command("-m", *args, folder=folder, TEST_DATABASE_URL=server_url, **UNMEASURED)
        assert done.returncode == 0, done.stdout + done.stderr


def _apply(path: Path, lines: list[str]) -> None:
    before = "\n".join(line[1:] for line in lines if line[0] != "+")
    after = "\n".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text()
    assert before in text, f"{path.name} has no such lines:\n{before}"
    path.write_text(text.replace(before, after))
