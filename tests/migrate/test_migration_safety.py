"""What makes migrations safe: locks, checksums, order, kills, progress."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from taskapi.database.statements import (
    MIGRATION_STATEMENTS,
    MIGRATIONS_DIR,
    released_migrations,
)
from taskapi.migrate.files import MigrationError, checksum, create_migration, number_of
from taskapi.migrate.run import apply_migrations, list_migrations, rollback_migrations
from tests.support.fixtures import MakeDatabase, MakePostgres
from tests.support.migration_tools import add_migration, add_recipes, copy_released, dump_schema
from tests.support.service import PATIENCE, ROOT, environment, wait_until

KILLS = 20
SEED = 4


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A folder with this release's migrations, to be added to."""
    copy_released(tmp_path / "migrations")
    return tmp_path / "migrations"


def fill(url: str) -> None:
    """Put rows into the tables that are there."""
    with psycopg.connect(url, autocommit=True) as conn:
        for table, insert in (
            (
                "users",
                "INSERT INTO users (email, password_hash)"
                " SELECT gen_random_uuid() || '@example.com', '!' FROM generate_series(1, 20)",
            ),
            (
                "tasks",
                "INSERT INTO tasks (user_id, title)"
                " SELECT id, '!' || number FROM users, generate_series(1, 20) AS number",
            ),
        ):
            if conn.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
                conn.execute(insert.encode())


@pytest.mark.long
def test_up_down_up_of_every_migration_with_data_in_place(
    empty_database: str, migrations: Path
) -> None:
    """Each way back leaves what was there before, each second way up what the first one did."""
    add_recipes(migrations)
    before = dump_schema(empty_database)
    for id in released_migrations(migrations):
        number = number_of(id)
        assert apply_migrations(empty_database, to=number, folder=migrations) == [id]
        after = dump_schema(empty_database)
        fill(empty_database)
        assert rollback_migrations(empty_database, folder=migrations) == [id]
        assert dump_schema(empty_database) == before, id
        fill(empty_database)
        assert apply_migrations(empty_database, folder=migrations, to=number) == [id]
        assert dump_schema(empty_database) == after, id
        before = after


@contextmanager
def apply_in_a_process(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Lend the process of an apply that has loaded all that it needs and waits for a line."""
    script = f"""
from pathlib import Path
from taskapi.migrate.run import apply_migrations
print("loaded", flush=True)
input()
apply_migrations({url!r}, folder=Path({str(folder)!r}), report=print)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "loaded\n"
            yield process
        finally:
            process.kill()


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.long
def test_killed_at_random_moments_and_run_again(
    make_database: MakeDatabase, migrations: Path
) -> None:
    """The moments are spread over what an apply takes here, and are the same in each run."""
    ids = released_migrations(migrations) + add_recipes(migrations)
    url = make_database()
    with apply_in_a_process(url, migrations) as process:
        let_go(process)
        started = time.monotonic()
        assert process.wait(PATIENCE) == 0
        duration = time.monotonic() - started
    expected = dump_schema(url)
    moments = random.Random(SEED)
    applied_at_the_kill = []
    for _ in range(KILLS):
        url = make_database()
        with apply_in_a_process(url, migrations) as process:
            let_go(process)
            try:
                process.wait(moments.uniform(0, duration))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        applied_at_the_kill.append(
            sum(state.applied_at is not None for state in list_migrations(url, folder=migrations))
        )
        apply_migrations(url, folder=migrations)
        states = list_migrations(url, folder=migrations)
        assert [state.id for state in states if state.applied_at] == ids
        assert not any(state.changed for state in states)
        assert dump_schema(url) == expected
    assert len(set(applied_at_the_kill)) > 1, "the kills didn't hit the apply"


# What runs in this database, without the session that asks.
SLEEPERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND state = 'active' AND query LIKE '%pg_sleep(%' AND pid <> pg_backend_pid()"
)


def apply_and_kill(url: str, folder: Path, *, setting: str) -> str:
    """Kill an apply while the server runs its last statement, and return its migration's id."""
    apply_migrations(url, folder=folder)
    sleep = f"{setting};\nSELECT pg_sleep({PATIENCE * 10:.0f});"
    id = add_migration(folder, "long", sleep)
    with (
        psycopg.connect(url, autocommit=True) as conn,
        apply_in_a_process(url, folder) as process,
    ):
        let_go(process)
        wait_until("its statement", lambda: conn.execute(SLEEPERS).fetchone() != (0,))
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    return id


def test_the_statement_of_a_killed_apply_ends(empty_database: str, migrations: Path) -> None:
    """Otherwise it would run for as long as it takes, and keep its locks."""
    apply_and_kill(empty_database, migrations, setting="SET lock_timeout = 0")
    with psycopg.connect(empty_database, autocommit=True) as conn:
        wait_until("its end", lambda: conn.execute(SLEEPERS).fetchone() == (0,))


def test_an_apply_waits_for_the_statement_of_a_killed_one(
    empty_database: str, migrations: Path
) -> None:
    """It never runs beside it, also where the server doesn't notice."""
    id = apply_and_kill(
        empty_database, migrations, setting="SET client_connection_check_interval = 0"
    )
    (migrations / f"{id}.sql").write_text(f"CREATE TABLE beside AS {SLEEPERS};")
    lines: list[str] = []
    with (
        psycopg.connect(empty_database, autocommit=True) as conn,
        ThreadPoolExecutor(1) as threads,
    ):
        second = threads.submit(
            apply_migrations, empty_database, folder=migrations, report=lines.append
        )
        wait_until("its report", lambda: bool(lines) or second.done())
        conn.execute(SLEEPERS.replace("count(*)", "pg_terminate_backend(pid)"))
        assert second.result(PATIENCE) == [id]
        assert conn.execute("SELECT * FROM beside").fetchall() == [(0,)]
    assert lines[0].startswith("waiting for pid ")


def test_a_server_that_cannot_check_its_client_migrates(
    empty_database: str, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """client_connection_check_interval is refused where the operating system can't do it."""
    refused = "SELECT set_config('client_connection_check_interval', '-1', false)"
    with psycopg.connect(empty_database) as conn, pytest.raises(errors.InvalidParameterValue):
        conn.execute(refused)
    monkeypatch.setitem(MIGRATION_STATEMENTS, "check_client", refused.encode())
    assert apply_migrations(empty_database, folder=migrations) == released_migrations(migrations)


@pytest.mark.slow
def test_eight_at_once_run_each_statement_once(
    make_database: MakeDatabase, migrations: Path
) -> None:
    """Also an index built CONCURRENTLY, which waits for all snapshots: no waiting apply has one."""
    add_migration(migrations, "once", "CREATE TABLE once (n int); INSERT INTO once VALUES (1);")
    add_migration(migrations, "again", "-- transactional: false\nINSERT INTO once VALUES (2);\n")
    add_recipes(migrations)
    alone, together = make_database(), make_database()
    for url in (alone, together):
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(
                """
                CREATE SCHEMA seen;
                CREATE TABLE seen.commands (command text);
                CREATE FUNCTION seen.note() RETURNS event_trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO seen.commands
                    SELECT command_tag || ' ' || object_identity
                    FROM pg_event_trigger_ddl_commands();
                END $$;
                CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION seen.note();
                """
            )
    apply_migrations(alone, folder=migrations)
    with ExitStack() as stack:
        runs = [stack.enter_context(apply_in_a_process(together, migrations)) for _ in range(8)]
        for run in runs:
            let_go(run)
        reports = [run.communicate(timeout=PATIENCE)[0] for run in runs]
        assert [run.returncode for run in runs] == [0] * 8
    assert not any("trying again" in report for report in reports), reports
    commands = []
    for url in (alone, together):
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT n FROM once ORDER BY n").fetchall() == [(1,), (2,)]
            seen = conn.execute(
                "SELECT command, count(*) FROM seen.commands"
                " WHERE command !~ 'yoyo' GROUP BY 1 ORDER BY 1"
            ).fetchall()
            commands.append(seen)
    assert ("CREATE TABLE public.tasks", 1) in commands[0]
    assert ("CREATE INDEX public.tasks_user_id_due_on_id_idx", 1) in commands[0]
    assert commands[0] == commands[1]


def test_a_changed_file_is_refused(empty_database: str, migrations: Path) -> None:
    id = add_migration(migrations, "more", "CREATE TABLE more ();", "DROP TABLE more;")
    apply_migrations(empty_database, folder=migrations)
    path = migrations / f"{id}.sql"
    path.write_text("CREATE TABLE more (id int);")
    assert [
        state.id for state in list_migrations(empty_database, folder=migrations) if state.changed
    ] == [id]
    with pytest.raises(MigrationError, match=rf"{id}\.sql was changed after it was applied: put"):
        apply_migrations(empty_database, folder=migrations)
    # What the message says to do, both ways.
    assert rollback_migrations(empty_database, folder=migrations) == [id]
    assert apply_migrations(empty_database, folder=migrations) == [id]
    assert apply_migrations(empty_database, folder=migrations) == []


def test_one_applied_before_checksums_were_kept_is_adopted(
    empty_database: str, migrations: Path
) -> None:
    ids = apply_migrations(empty_database, folder=migrations)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("DROP TABLE _yoyo_checksum")
        assert not any(
            state.changed for state in list_migrations(empty_database, folder=migrations)
        )
        assert apply_migrations(empty_database, folder=migrations) == []
        rows = conn.execute("SELECT migration_id, sha256 FROM _yoyo_checksum ORDER BY 1").fetchall()
    assert rows == [(id, checksum(id, migrations)) for id in ids]


def test_two_with_one_number_are_refused(empty_database: str, migrations: Path) -> None:
    first = released_migrations(migrations)[0]
    twin = f"{first.partition('.')[0]}.a-twin"
    (migrations / f"{twin}.sql").write_text("SELECT 1;")
    for command in (list_migrations, apply_migrations, rollback_migrations):
        with pytest.raises(MigrationError, match=f"{twin} and {first} have the same number: give"):
            command(empty_database, folder=migrations)


def test_one_that_sorts_before_an_applied_one_is_refused(
    empty_database: str, migrations: Path
) -> None:
    first, last = released_migrations(migrations)[0], released_migrations(migrations)[-1]
    apply_migrations(empty_database, folder=migrations)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("DELETE FROM _yoyo_migration WHERE migration_id = %s", [first])
    with pytest.raises(
        MigrationError, match=f"{first} sorts before {last}, which is applied: give"
    ):
        apply_migrations(empty_database, folder=migrations)


def test_an_older_release_leaves_what_a_newer_one_applied(
    empty_database: str, migrations: Path
) -> None:
    """Both may be at work while a deployment is under way."""
    id = add_migration(migrations, "newer", "SELECT 1;")
    apply_migrations(empty_database, folder=migrations)
    state = list_migrations(empty_database)[-1]
    assert (state.id, state.released) == (id, False)
    assert apply_migrations(empty_database) == []
    with pytest.raises(MigrationError, match=f"{id} is applied and unknown to this release: roll"):
        rollback_migrations(empty_database)


@pytest.mark.parametrize("text", [None, "", "-- nothing\n"])
def test_a_rollback_without_a_way_back_is_refused(
    empty_database: str, migrations: Path, text: str | None
) -> None:
    id = add_migration(migrations, "one-way", "CREATE TABLE one_way ();")
    apply_migrations(empty_database, folder=migrations)
    path = migrations / f"{id}.rollback.sql"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(MigrationError, match=f"{id} has no rollback: write {path.name} first"):
        rollback_migrations(empty_database, folder=migrations)
    assert list_migrations(empty_database, folder=migrations)[-1].applied_at


def test_a_name_that_is_none_is_refused(empty_database: str, migrations: Path) -> None:
    (migrations / "Add_stuff.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=r"Add_stuff\.sql is not a valid name"):
        apply_migrations(empty_database, folder=migrations)


def test_a_new_pair_has_the_next_number(migrations: Path) -> None:
    last = number_of(released_migrations(migrations)[-1])
    paths = create_migration("Add Due dates!", migrations)
    id = f"{last + 1:04}.add-due-dates"
    assert [path.name for path in paths] == [f"{id}.sql", f"{id}.rollback.sql"]
    assert released_migrations(migrations)[-1] == id
    with pytest.raises(MigrationError, match="can't be a migration's name"):
        create_migration("…", migrations)


def test_the_released_ones_are_what_they_were() -> None:
    """migrations/checksums has a line for each that a release has shipped; these never change."""
    lines = (MIGRATIONS_DIR / "checksums").read_text().splitlines()
    recorded = [tuple(line.split("  ")) for line in lines]
    ids = released_migrations()[: len(recorded)]
    assert recorded == [(checksum(id), f"{id}.sql") for id in ids]


@pytest.fixture
def blocked(
    empty_database: str, migrations: Path
) -> tuple[str, Callable[..., list[str]], list[str]]:
    """A database whose next migration needs a lock on tasks, how to apply it, what it reports."""
    apply_migrations(empty_database, folder=migrations)
    add_migration(
        migrations,
        "lock",
        "ALTER TABLE tasks ADD COLUMN IF NOT EXISTS more int;",
        "ALTER TABLE tasks DROP COLUMN IF EXISTS more;",
    )
    lines: list[str] = []

    def apply(**options: float) -> list[str]:
        return apply_migrations(
            empty_database,
            folder=migrations,
            report=lines.append,
            **options,  # type: ignore[arg-type]
        )

    return empty_database, apply, lines


def test_a_migration_never_queues_up_behind_a_long_query(
    blocked: tuple[str, Callable[..., list[str]], list[str]],
) -> None:
    """Readers that come while it waits are held up for lock_timeout at the most."""
    url, apply, lines = blocked
    with (
        psycopg.connect(url, application_name="a report") as long_query,
        psycopg.connect(
            url, autocommit=True, options=f"-c statement_timeout={PATIENCE:.0f}s"
        ) as reader,
        ThreadPoolExecutor(1) as threads,
    ):
        long_query.execute("SELECT count(*) FROM tasks")
        migration = threads.submit(apply, lock_timeout=0.3)
        # Each of these would wait until the long query ends if the migration stayed in the queue.
        while sum("trying again" in line for line in lines) < 3:
            assert not migration.done(), migration.exception()
            reader.execute("SELECT count(*) FROM tasks")
        long_query.rollback()
        assert len(migration.result(PATIENCE)) == 1
    assert any("no lock because of pid" in line and "a report" in line for line in lines), lines


@pytest.mark.parametrize("name", ["describe-schema", "vacuum-tasks-often"])
def test_it_waits_for_no_request_and_no_request_for_it(
    empty_database: str, migrations: Path, name: str
) -> None:
    """In both directions, beside a transaction that has read and written every table."""
    [id] = [id for id in released_migrations(migrations) if id.endswith(f".{name}")]
    apply_migrations(empty_database, to=number_of(id) - 1, folder=migrations)
    with psycopg.connect(empty_database) as busy:
        busy.execute("LOCK users, tasks, idempotency_keys, login_attempts IN ROW EXCLUSIVE MODE")
        assert apply_migrations(empty_database, to=number_of(id), folder=migrations) == [id]
        assert rollback_migrations(empty_database, folder=migrations) == [id]


@pytest.mark.slow
def test_it_does_not_wait_for_autovacuum(make_postgres: MakePostgres, migrations: Path) -> None:
    """PostgreSQL ends it for a session that has waited deadlock_timeout, which is a second."""
    # So slow that it takes hours.
    slow = {"autovacuum_vacuum_cost_delay": "100ms", "autovacuum_vacuum_cost_limit": "1"}
    url = make_postgres(autovacuum_naptime="1s", **slow).url
    apply_migrations(url, folder=migrations)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO users (email, password_hash) VALUES ('a@example.com', '!')")
        conn.execute(
            "INSERT INTO tasks (user_id, title)"
            " SELECT id, number::text FROM users, generate_series(1, 60000) AS number"
        )
        conn.execute("UPDATE tasks SET completed = true")
        running = "SELECT pid FROM pg_stat_progress_vacuum WHERE relid = 'tasks'::regclass"
        wait_until("autovacuum", lambda: bool(conn.execute(running).fetchall()))
        id = add_migration(
            migrations, "lock", "ALTER TABLE tasks ADD COLUMN IF NOT EXISTS more int;"
        )
        lines: list[str] = []
        assert apply_migrations(url, folder=migrations, report=lines.append) == [id]
    assert not any("trying again" in line for line in lines), lines


def test_it_gives_up_after_so_many_tries(
    blocked: tuple[str, Callable[..., list[str]], list[str]],
) -> None:
    url, apply, _ = blocked
    with psycopg.connect(url, application_name="a report") as long_query:
        long_query.execute("SELECT count(*) FROM tasks")
        with pytest.raises(
            MigrationError, match=r"no lock after 3 tries, .* because of pid .*a report"
        ):
            apply(lock_timeout=0.3, tries=3)
    assert len(apply()) == 1


def test_it_tells_what_a_long_statement_waits_for(
    blocked: tuple[str, Callable[..., list[str]], list[str]],
) -> None:
    url, apply, lines = blocked
    with (
        psycopg.connect(url, application_name="a report") as long_query,
        ThreadPoolExecutor(1) as threads,
    ):
        pid = long_query.info.backend_pid
        long_query.execute("SELECT count(*) FROM tasks")
        migration = threads.submit(apply, lock_timeout=PATIENCE)
        wait_until("its report", lambda: bool(lines))
        long_query.rollback()
        migration.result(PATIENCE)
    assert lines[0].startswith("running 1 s: ALTER TABLE tasks ADD COLUMN IF NOT EXISTS more int;")
    assert f"; waiting for pid {pid} (" in lines[0]
    assert "a report, idle in transaction, " in lines[0]


def test_one_that_waits_for_another_says_so(empty_database: str, migrations: Path) -> None:
    ids = released_migrations(migrations)
    lines: list[str] = []
    waiting = threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        waiting.set()

    with (
        psycopg.connect(empty_database) as blocker,
        ThreadPoolExecutor(2) as threads,
    ):
        # Its CREATE TABLE must wait for this.
        blocker.execute("CREATE TABLE users ()")
        first = threads.submit(
            apply_migrations, empty_database, folder=migrations, lock_timeout=PATIENCE
        )
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        with psycopg.connect(empty_database, autocommit=True) as conn:
            wait_until("the first to wait", lambda: conn.execute(query).fetchone() != (0,))
        second = threads.submit(apply_migrations, empty_database, folder=migrations, report=report)
        assert waiting.wait(PATIENCE)
        blocker.rollback()
        assert first.result(PATIENCE) == ids
        assert second.result(PATIENCE) == []
    assert lines[0].startswith("waiting for pid ")
    assert "which has been migrating since" in lines[0]


def test_a_statement_that_fails_is_one_line(empty_database: str, migrations: Path) -> None:
    id = add_migration(migrations, "wrong", "CREATE TABLE made ();\nSELECT 1 / 0;")
    with pytest.raises(MigrationError, match=f"^{id}: division by zero$"):
        apply_migrations(empty_database, folder=migrations)
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT to_regclass('made')").fetchone() == (None,)


def test_sessions_that_wait_are_not_ended_for_being_idle(
    empty_database: str, migrations: Path
) -> None:
    """The session that has the lock is idle while another works."""
    with psycopg.connect(empty_database, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '100ms'".encode())
    add_migration(migrations, "slow", "SELECT pg_sleep(0.5);")
    assert apply_migrations(empty_database, folder=migrations)
