"""The commands of `python -m taskapi migrate`: what they print, and their exit codes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest

from taskapi.database.statements import MIGRATIONS_DIR, released_migrations
from taskapi.migrate.run import apply_migrations, list_migrations
from tests.support.service import PATIENCE, ROOT, environment, run_command

RELEASED = released_migrations()
FIRST, LAST = RELEASED[0], RELEASED[-1]

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(empty_database: str) -> Command:
    """Run a command on a database of this test's own."""
    return lambda *args: run_command("-m", "taskapi", "migrate", *args, DATABASE_URL=empty_database)


def applied_ids(url: str) -> list[str]:
    return [state.id for state in list_migrations(url) if state.applied_at]


def test_status_of_an_empty_database_changes_nothing(command: Command, empty_database: str) -> None:
    done = command("status")
    assert done.returncode == 1
    assert [line.split() for line in done.stdout.splitlines()] == [
        [id, "pending"] for id in RELEASED
    ]
    with psycopg.connect(empty_database) as conn:
        tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert conn.execute(tables).fetchone() == (0,)


def test_status_tells_when_and_by_whom(command: Command, empty_database: str) -> None:
    apply_migrations(empty_database)
    done = command("status")
    assert done.returncode == 0
    for id, line in zip(RELEASED, done.stdout.splitlines(), strict=True):
        assert re.fullmatch(rf"{id} +applied \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC by \S+@\S+", line)


def test_status_tells_what_has_changed_and_what_it_does_not_know(
    command: Command, empty_database: str
) -> None:
    apply_migrations(empty_database)
    with psycopg.connect(empty_database) as conn:
        conn.execute("UPDATE _yoyo_checksum SET sha256 = '' WHERE migration_id = %s", [FIRST])
        conn.execute(
            "INSERT INTO _yoyo_migration VALUES ('hash', '9999.newer', timestamp '2026-01-31')"
        )
    done = command("status")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].endswith(", changed since")
    assert re.search(r"^9999\.newer +applied 2026-01-31 .*, unknown to this release$", lines[-1])


def test_a_dry_run_prints_the_sql_and_does_nothing(command: Command, empty_database: str) -> None:
    done = command("apply", "--dry-run", "--to", FIRST)
    assert done.returncode == 0
    text = (MIGRATIONS_DIR / f"{FIRST}.sql").read_text()
    assert done.stdout == f"-- {FIRST}\n{text}\n"
    assert applied_ids(empty_database) == []


@pytest.mark.parametrize("to", [FIRST, "1", "0001"])
def test_apply_and_rollback_go_to_a_migration(
    command: Command, empty_database: str, to: str
) -> None:
    assert command("apply", "--to", to).stdout == f"applied {FIRST}\n"
    assert applied_ids(empty_database) == [FIRST]
    assert apply_migrations(empty_database) == RELEASED[1:]
    done = command("rollback", "--to", to, "--yes")
    assert done.stdout == "".join(f"rolled back {id}\n" for id in RELEASED[:0:-1])
    assert applied_ids(empty_database) == [FIRST]
    assert command("rollback", "--to", "0", "--yes").stdout == f"rolled back {FIRST}\n"


@pytest.mark.parametrize(
    "args", [("apply", "--to", "9999"), ("apply", "--to", "x"), ("rollback", "--all", "--to", "1")]
)
def test_a_wrong_argument_is_refused(command: Command, args: tuple[str, ...]) -> None:
    done = command(*args)
    assert done.returncode == 2
    assert "Error: " in done.stderr


def test_a_rollback_says_what_it_drops(command: Command, empty_database: str) -> None:
    apply_migrations(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO users (email, password_hash)"
            " SELECT n || '@example.com', '!' FROM generate_series(1, 1234) AS n"
        )
    # Another session: the statistics of the first are there when it has ended.
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("ANALYZE users")
    done = command("rollback", "--all")
    assert done.returncode == 1
    for id in RELEASED:
        assert f"{id} is rolled back by" in done.stderr
    assert "    DROP TABLE IF EXISTS users;" in done.stderr
    assert re.search(r"which drops table users: about 1,234 rows, \d+ kB", done.stderr)
    assert done.stderr.splitlines()[-1] == (
        "taskapi: nothing is rolled back without --yes, or a terminal to ask on"
    )
    assert applied_ids(empty_database) == RELEASED


@pytest.mark.parametrize(("answer", "returncode"), [(b"y\n", 0), (b"n\n", 1)])
def test_a_rollback_asks_on_a_terminal(empty_database: str, answer: bytes, returncode: int) -> None:
    apply_migrations(empty_database)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        done = subprocess.run(
            [sys.executable, "-m", "taskapi", "migrate", "rollback"],
            cwd=ROOT,
            env=environment(DATABASE_URL=empty_database),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Roll back? [y/N]" in done.stderr
    assert done.returncode == returncode
    assert applied_ids(empty_database) == (RELEASED[:-1] if returncode == 0 else RELEASED)


@pytest.mark.parametrize("name", ["", "status", "apply", "rollback", "new", "checksums"])
def test_each_command_explains_itself(command: Command, name: str) -> None:
    done = command(*filter(None, [name]), "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout


def test_checksums_are_what_sha256sum_prints(command: Command) -> None:
    done = command("checksums")
    files = [line.split("  ")[1] for line in done.stdout.splitlines()]
    assert files == [f"{id}.sql" for id in RELEASED]
    printed = subprocess.run(
        ["sha256sum", *files], cwd=MIGRATIONS_DIR, capture_output=True, text=True, check=True
    )
    assert done.stdout == printed.stdout
