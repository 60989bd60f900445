"""The migrations: up, down, up again; at once; after a kill; with every form of URL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from taskapi.database.statements import released_migrations
from taskapi.migrate.files import MigrationError
from taskapi.migrate.run import apply_migrations, rollback_migrations
from tests.support.accounts import Account
from tests.support.fixtures import MakeDatabase, MakePostgres, MakeService, as_uri
from tests.support.service import ROOT, environment, free_port, run_command, wait_until

RELEASED = released_migrations()


def schema(url: str) -> list[tuple[object, ...]]:
    """Return all that the catalogue knows of our tables, indexes, constraints and functions."""
    with psycopg.connect(url) as conn:
        return conn.execute(
            """
            SELECT 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod),
                attnotnull::text, pg_get_expr(adbin, adrelid)
            FROM pg_attribute
            JOIN pg_class ON pg_class.oid = attrelid AND relnamespace = 'public'::regnamespace
            LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE attnum > 0 AND relname !~ '^_?yoyo'
            UNION ALL
            SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid),
                '', ''
            FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text !~ '^_?yoyo'
            UNION ALL
            SELECT 'index', tablename, indexname, indexdef, '', ''
            FROM pg_indexes WHERE schemaname = 'public' AND tablename !~ '^_?yoyo'
            UNION ALL
            SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', ''
            FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL
            SELECT 'function', proname, prosrc, '', '', ''
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            UNION ALL
            SELECT 'policy', tablename, policyname, roles::text || cmd, qual, with_check
            FROM pg_policies WHERE schemaname = 'public'
            UNION ALL
            SELECT 'rights', relname, relrowsecurity || ' ' || relforcerowsecurity,
                coalesce(relacl, acldefault('r', relowner))::text, '', ''
            FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname !~ 'yoyo'
            UNION ALL
            SELECT 'column rights', attrelid::regclass::text, attname, attacl::text, '', ''
            FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid >= 16384
            ORDER BY 1, 2, 3, 4
            """
        ).fetchall()


def test_up_down_up(empty_database: str) -> None:
    assert schema(empty_database) == []
    assert apply_migrations(empty_database) == RELEASED
    full = schema(empty_database)
    assert {row[1] for row in full if row[0] == "column"} >= {"users", "tasks"}
    assert apply_migrations(empty_database) == []
    assert rollback_migrations(empty_database, None) == RELEASED[::-1]
    assert schema(empty_database) == []
    assert rollback_migrations(empty_database, None) == []
    assert apply_migrations(empty_database) == RELEASED
    assert schema(empty_database) == full


def test_one_at_a_time_with_data_in_place(empty_database: str, make_service: MakeService) -> None:
    """T082 to T084, on a database that has been used."""
    apply_migrations(empty_database)
    full = schema(empty_database)
    service = make_service(DATABASE_URL=empty_database)
    service.start()
    with service.client() as client:
        Account.sign_up(client).create()
    service.stop()
    for id in reversed(RELEASED):
        assert rollback_migrations(empty_database) == [id]
    assert schema(empty_database) == []
    apply_migrations(empty_database)
    assert schema(empty_database) == full


def test_the_commands_say_what_they_did(empty_database: str) -> None:
    def command(*args: str) -> str:
        done = run_command("-m", "taskapi", "migrate", *args, DATABASE_URL=empty_database)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert command("apply") == "".join(f"applied {id}\n" for id in RELEASED)
    assert command("apply") == "nothing to apply\n"
    assert command("rollback", "--yes") == f"rolled back {RELEASED[-1]}\n"
    undone = "".join(f"rolled back {id}\n" for id in RELEASED[-2::-1])
    assert command("rollback", "--all", "--yes") == undone
    assert command("rollback") == "nothing to roll back\n"


@pytest.mark.slow
def test_eight_at_once_each_succeed(empty_database: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        runs = list(
            threads.map(
                lambda _: run_command(
                    "-m", "taskapi", "migrate", "apply", DATABASE_URL=empty_database
                ),
                range(8),
            )
        )
    assert [run.returncode for run in runs] == [0] * 8, [run.stderr for run in runs]
    applied = "".join(run.stdout for run in runs).replace("nothing to apply\n", "")
    assert applied == "".join(f"applied {id}\n" for id in RELEASED)


def test_a_killed_apply_can_be_run_again(empty_database: str) -> None:
    """Killed while it holds yoyo's lock: the lock's row stays behind, and must not matter."""
    apply_migrations(empty_database)
    full = schema(empty_database)
    rollback_migrations(empty_database, None)
    with psycopg.connect(empty_database) as blocker:
        # Its CREATE TABLE must wait for this.
        blocker.execute("CREATE TABLE users ()")
        process = subprocess.Popen(
            [sys.executable, "-m", "taskapi", "migrate", "apply"],
            cwd=ROOT,
            env=environment(DATABASE_URL=empty_database),
        )
        with psycopg.connect(empty_database, autocommit=True) as watcher:
            waiting = (
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
            wait_until("the apply to wait", lambda: bool(watcher.execute(waiting).fetchall()))
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert watcher.execute("SELECT 1 FROM yoyo_lock").fetchall()
        blocker.rollback()
    assert apply_migrations(empty_database) == RELEASED
    assert schema(empty_database) == full


def test_a_migration_without_its_mark_is_run_again(empty_database: str) -> None:
    """The migration and its mark are two transactions: a process can die in between."""
    apply_migrations(empty_database)
    full = schema(empty_database)
    with psycopg.connect(empty_database) as conn:
        conn.execute("DELETE FROM _yoyo_migration")
    assert apply_migrations(empty_database) == RELEASED
    assert schema(empty_database) == full


def test_a_role_that_may_not_create_is_told_so(
    empty_database: str, make_database: MakeDatabase
) -> None:
    role = f"role_{os.urandom(8).hex()}"
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN")
        conn.execute("REVOKE CREATE ON SCHEMA public FROM public")
    try:
        with psycopg.connect(empty_database, autocommit=True) as conn:
            conn.execute(f"ALTER DATABASE {conn.info.dbname} SET ROLE {role}")
        with pytest.raises(
            MigrationError, match=f"role {role} may not create tables in schema public"
        ):
            apply_migrations(empty_database)
    finally:
        with psycopg.connect(make_database(), autocommit=True) as conn:
            name = conninfo_to_dict(empty_database)["dbname"]
            conn.execute(f"ALTER DATABASE {name} RESET ROLE")
            conn.execute(f"DROP ROLE {role}")


def test_a_database_that_is_not_utf8_is_refused(make_database: MakeDatabase) -> None:
    url = make_database()
    name = f"latin_{os.urandom(8).hex()}"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0")
        try:
            with pytest.raises(MigrationError, match="not UTF8"):
                apply_migrations(as_uri(**{**conninfo_to_dict(url), "dbname": name}))
        finally:
            conn.execute(f"DROP DATABASE {name}")


def test_a_standby_is_refused(make_postgres: MakePostgres) -> None:
    postgres = make_postgres()
    postgres.stop()
    (postgres.data_dir / "standby.signal").touch()
    postgres.start()
    with pytest.raises(MigrationError, match="standby"):
        apply_migrations(postgres.url)


def test_a_server_that_is_away_is_one_line() -> None:
    url = f"postgresql://127.0.0.1:{free_port()}/x"
    done = run_command("-m", "taskapi", "migrate", "apply", DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("taskapi: the database can't be reached: check DATABASE_URL")
    assert done.stderr.count("\n") == 1


def test_a_process_without_a_name_can_migrate(empty_database: str) -> None:
    """As in a container with `--user 12345`: yoyo logs who it was."""
    script = f"""
import pwd
from taskapi.migrate.run import apply_migrations

def getpwuid(uid):
    raise KeyError(f"getpwuid(): uid not found: {{uid}}")

pwd.getpwuid = getpwuid
apply_migrations({empty_database!r})
"""
    done = run_command("-c", script, LOGNAME="", USER="", LNAME="", USERNAME="")
    assert done.returncode == 0, done.stderr
    with psycopg.connect(empty_database) as conn:
        users = conn.execute("SELECT DISTINCT username FROM _yoyo_log").fetchall()
    assert users == [(str(os.getuid()),)]


@pytest.mark.slow
def test_every_form_of_url_is_understood(
    make_postgres: MakePostgres, make_service: MakeService, tmp_path: Path
) -> None:
    """What libpq takes, yoyo and the service take: one DATABASE_URL for both."""
    port, dead = free_port(), free_port()
    postgres = make_postgres(listen_addresses="127.0.0.1", port=str(port))
    socket_dir = str(conninfo_to_dict(postgres.url)["host"])
    with psycopg.connect(postgres.url, autocommit=True) as conn:
        conn.execute("CREATE ROLE \"o'wner\" SUPERUSER LOGIN PASSWORD 'p@ss/w:rd% ?'")
    tail = "user=postgres&dbname=postgres"
    forms = [
        f"postgresql://postgres@127.0.0.1:{port}/postgres",
        f"postgres://postgres:ignored@127.0.0.1:{port}/postgres?sslmode=prefer&connect_timeout=5",
        f"postgresql://o%27wner:p%40ss%2Fw%3Ard%25%20%3F@127.0.0.1:{port}/postgres",
        f"postgresql://postgres@/postgres?host={socket_dir}&port={port}",
        f"postgresql://postgres@{quote(socket_dir, safe='')}:{port}/postgres",
        f"postgresql://postgres@127.0.0.1:{dead},127.0.0.1:{port}/postgres",
        f"postgresql:///?host=127.0.0.1,127.0.0.1&port={dead},{port}&{tail}"
        "&target_session_attrs=read-write",
        f"postgresql://?hostaddr=127.0.0.1&port={port}&{tail}&application_name=mine"
        "&options=-c%20work_mem%3D8MB",
    ]
    for url in forms:
        assert apply_migrations(url, to=1) == RELEASED[:1], url
        assert rollback_migrations(url, None) == RELEASED[:1], url
    assert apply_migrations(forms[0]) == RELEASED
    for url in forms:
        service = make_service(DATABASE_URL=url)
        service.start()
        with service.client() as client:
            assert Account.sign_up(client).create()["title"] == "a task"
        service.stop()
