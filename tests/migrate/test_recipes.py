"""How docs/database.md changes a large table, on one that the service is writing to.

Columns by migrations 0015 to 0019, other changes by the recipes of docs/recipes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from taskapi.database.statements import MIGRATIONS_DIR
from taskapi.migrate.files import MigrationError, number_of
from taskapi.migrate.run import apply_migrations, rollback_migrations
from tests.support.accounts import Account
from tests.support.fixtures import MakeService
from tests.support.migration_tools import RECIPES_DIR, add_recipes, copy_released, dump_schema
from tests.support.pages import read_blocks
from tests.support.service import PATIENCE, ROOT, Service, wait_until

pytestmark = pytest.mark.slow

# Migrations that add members to tasks, each a step of its own.
ADD, FILL, REQUIRE, VALIDATE, INDEX = 15, 16, 17, 18, 19

PAGE = (ROOT / "docs" / "database.md").read_text()

WRITERS = 6
ROWS = 60_000


class Traffic:
    """Users who write and read without a pause, and how long each request took."""

    def __init__(self, service: Service) -> None:
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._service = service
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(WRITERS) as threads:
            users = [threads.submit(self._use) for _ in range(WRITERS)]
            try:
                yield
            finally:
                self._ended.set()
            for user in users:
                user.result(PATIENCE)

    def _use(self) -> None:
        with self._service.client() as client:
            account = Account.sign_up(client)
            while not self._ended.is_set():
                task = self._send(account, "POST", "", json={"title": "!a task"}).json()["id"]
                self._send(account, "PUT", f"/{task}", json={"title": "another title"})
                self._send(account, "PATCH", f"/{task}/complete")
                self._send(account, "GET", f"/{task}")
                self._send(account, "GET", "")
                self._send(account, "DELETE", f"/{task}")

    def _send(self, account: Account, method: str, path: str, **body: object) -> httpx.Response:
        start = time.monotonic()
        response = account.request(method, path, **body)
        self.seconds.append(time.monotonic() - start)
        if response.status_code >= 300:
            self.failures.append(f"{method}: {response.status_code} {response.text}")
        return response


def insert_tasks(url: str) -> None:
    """Fill a database at the schema before the columns, as a restore does."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO users (email, password_hash)"
            " SELECT n || '@example.com', '!' FROM generate_series(1, 100) AS n"
        )
        conn.execute("SET session_replication_role = replica")  # the trigger sets updated_at
        conn.execute(
            "INSERT INTO tasks (user_id, title, completed, updated_at)"
            " SELECT id, n::text, n % 2 = 0, '2026-01-01'"
            f" FROM users, generate_series(1, {ROWS // 100}) AS n".encode()
        )
        conn.execute("ANALYZE")


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement.encode()).fetchall()


def read_migration(number: int) -> str:
    [path] = [
        path
        for path in MIGRATIONS_DIR.glob(f"{number:04}.*.sql")
        if not path.name.endswith(".rollback.sql")
    ]
    return path.read_text()


@pytest.mark.parametrize("beside", ["nothing else", "a long query"])
def test_no_request_fails_while_the_recipes_run(
    empty_database: str,
    make_service: MakeService,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    beside: str,
) -> None:
    """With a long query at work too, the first statement that needs its table has to try again.

    The release's own migrations run beside the release before: test_rolling_deploy.
    """
    folder = tmp_path / "migrations"
    released = copy_released(folder)
    apply_migrations(empty_database, folder=folder)
    service = make_service(DATABASE_URL=empty_database)
    service.start()
    rollback_migrations(empty_database, to=ADD - 1, folder=folder)
    insert_tasks(empty_database)
    apply_migrations(empty_database, folder=folder)
    schema = dump_schema(empty_database)
    changes = add_recipes(folder)
    traffic = Traffic(service)
    long_query = psycopg.connect(empty_database)
    retries: list[str] = []

    def report(line: str) -> None:
        if "trying again" in line:
            retries.append(line)
            long_query.close()

    with long_query, traffic.running():
        if beside == "a long query":
            long_query.execute("SELECT count(*) FROM tasks")
        wait_until("traffic", lambda: len(traffic.seconds) >= 3000)
        before, traffic.seconds = traffic.seconds, []
        before_the_drop = number_of(changes[-3])
        applied = apply_migrations(empty_database, to=before_the_drop, folder=folder, report=report)
        assert applied == changes[:-2]
        assert_applied(empty_database)
        assert apply_migrations(empty_database, folder=folder, report=report) == changes[-2:]
        during, traffic.seconds = traffic.seconds, []
        last = number_of(released[-1])
        assert rollback_migrations(empty_database, to=last, folder=folder) == changes[::-1]
        undoing = traffic.seconds
    assert traffic.failures == []
    assert bool(retries) == (beside == "a long query")
    assert dump_schema(empty_database) == schema
    with capsys.disabled():
        print(f"\nRecipes beside {beside}", end="")
        for name, seconds in (("before", before), ("up", during), ("down", undoing)):
            ordered = sorted(seconds)
            print(
                f"\n    {name}: {len(seconds)} requests, median"
                f" {ordered[len(ordered) // 2] * 1000:.0f} ms, slowest {ordered[-1] * 1000:.0f} ms",
                end="",
            )


def assert_applied(url: str) -> None:
    assert_filled(url)
    assert query(
        url,
        "SELECT conname::text, convalidated FROM pg_constraint"
        " WHERE conrelid = 'tasks'::regclass AND contype <> 'n'"
        " AND conname ~ 'due_on|priority|labels|position|completed_at|list' ORDER BY 1",
    ) == [
        (f"tasks_{name}", True)
        for name in (
            *("completed_at_check", "due_on_check", "labels_check", "list_id_fkey"),
            *("position_check", "priority_check"),
        )
    ]
    assert query(
        url,
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'tasks'::regclass"
        " AND attname IN ('due_on', 'priority', 'labels', 'position') AND attnotnull ORDER BY 1",
    ) == [("labels",), ("priority",)]
    assert query(
        url,
        "SELECT indexrelid::regclass::text FROM pg_index"
        " WHERE indrelid = 'tasks'::regclass AND indisvalid AND indexrelid::regclass::text"
        " ~ 'due_on|position' ORDER BY 1",
    ) == [("tasks_user_id_due_on_id_idx",), ("tasks_user_id_position_id_idx",)]


def assert_filled(url: str) -> None:
    """Each completed task, and nothing else has changed of those that were there."""
    assert query(url, "SELECT count(*) FROM tasks WHERE completed = (completed_at IS NULL)") == [
        (0,)
    ]
    assert query(
        url, "SELECT count(*), count(completed_at) FROM tasks WHERE updated_at = '2026-01-01'"
    ) == [(ROWS, ROWS // 2)]


@contextmanager
def one_task_locked(url: str) -> Iterator[None]:
    """Hold the first completed task of the second half: the rows are in batches of 1,000."""
    with psycopg.connect(url) as user:
        user.execute(
            "SELECT id FROM tasks WHERE completed AND (user_id, id) >= (SELECT user_id, id"
            f" FROM tasks ORDER BY user_id, id OFFSET {ROWS // 2} LIMIT 1)"
            " ORDER BY user_id, id LIMIT 1 FOR UPDATE".encode()
        )
        yield


def test_a_fill_says_how_far_it_is_and_goes_on_after_it_was_stopped(empty_database: str) -> None:
    """By a row that stays locked, here. What is filled isn't written again."""
    apply_migrations(empty_database, to=ADD - 1)
    insert_tasks(empty_database)
    [column] = apply_migrations(empty_database, to=ADD)
    schema = dump_schema(empty_database)
    lines: list[str] = []

    def report(line: str) -> None:
        if not line.startswith("running "):  # what any long statement reports
            lines.append(line)

    def apply() -> list[str]:
        lines.clear()
        return apply_migrations(empty_database, to=FILL, report=report, tries=1)

    written = "SELECT user_id, id, xmin::text FROM tasks WHERE completed_at IS NOT NULL"
    with one_task_locked(empty_database):
        with pytest.raises(MigrationError, match="no lock after 1 tries"):
            apply()
        assert lines[0] == f"1000 of about {ROWS} tasks"
        assert lines[-1] == f"{ROWS // 2} of about {ROWS} tasks"
        first_half = set(query(empty_database, written))
    assert 0 < len(first_half) < ROWS // 2
    [fill] = apply()
    assert lines[-1] == f"{ROWS} of about {ROWS} tasks"
    assert first_half < set(query(empty_database, written))
    assert_filled(empty_database)
    assert dump_schema(empty_database) == schema
    assert rollback_migrations(empty_database, to=ADD - 1) == [fill, column]


def test_a_fill_that_was_given_up_goes_with_its_column(empty_database: str) -> None:
    """The next one begins anew."""
    apply_migrations(empty_database, to=ADD - 1)
    insert_tasks(empty_database)
    schema = dump_schema(empty_database)
    [column] = apply_migrations(empty_database, to=ADD)
    with (
        one_task_locked(empty_database),
        pytest.raises(MigrationError, match="no lock after 1 tries"),
    ):
        apply_migrations(empty_database, tries=1)
    assert rollback_migrations(empty_database) == [column]
    assert dump_schema(empty_database) == schema
    apply_migrations(empty_database)
    assert_filled(empty_database)


def test_an_index_that_failed_half_way_is_built_again(empty_database: str) -> None:
    """CREATE INDEX CONCURRENTLY leaves an invalid index; IF NOT EXISTS would be content with it."""
    apply_migrations(empty_database, to=INDEX - 1)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE INDEX tasks_user_id_due_on_id_idx ON tasks (user_id)")
        conn.execute(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'tasks_user_id_due_on_id_idx'::regclass"
        )
        apply_migrations(empty_database, to=INDEX)
        valid = "SELECT indisvalid, indnatts FROM pg_index WHERE indexrelid = %s::regclass"
        assert conn.execute(valid, ["tasks_user_id_due_on_id_idx"]).fetchone() == (True, 3)


def list_locks(conn: psycopg.Connection, pid: int) -> set[str]:
    """Return the modes in which a session has locked tasks."""
    return {
        mode
        for (mode,) in conn.execute(
            "SELECT mode FROM pg_locks WHERE pid = %s AND locktype = 'relation'"
            " AND relation = 'tasks'::regclass AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [pid],
        )
    }


# Those of docs/database.md, the strongest of each step.
LOCKS = {
    ADD: "ACCESS EXCLUSIVE",
    FILL: "ROW EXCLUSIVE",
    REQUIRE: "ACCESS EXCLUSIVE",
    VALIDATE: "SHARE UPDATE EXCLUSIVE",
    INDEX: "SHARE UPDATE EXCLUSIVE",
}


@pytest.mark.parametrize("number", [ADD, REQUIRE, VALIDATE])
def test_a_step_reads_all_rows_or_stops_writers_but_never_both(
    empty_database: str, number: int
) -> None:
    apply_migrations(empty_database, to=number - 1)
    notices: list[str] = []
    node = "SELECT pg_relation_filenode('tasks')"
    with psycopg.connect(empty_database) as conn:
        before = conn.execute(node).fetchone()
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        conn.execute("SET client_min_messages = debug1")
        conn.execute(read_migration(number).encode())
        modes = list_locks(conn, conn.info.backend_pid)
        assert conn.execute(node).fetchone() == before
    asked = LOCKS[number].title().replace(" ", "") + "Lock"
    assert asked in modes
    assert ("AccessExclusiveLock" in modes) == (asked == "AccessExclusiveLock")
    assert ('verifying table "tasks"' in notices) == (number == VALIDATE), notices


@pytest.mark.parametrize("number", [FILL, INDEX])
def test_a_step_that_takes_long_stops_nobody(empty_database: str, number: int) -> None:
    """Seen while it waits: for a row to fill, or for older transactions."""
    apply_migrations(empty_database, to=ADD - 1)
    insert_tasks(empty_database)
    apply_migrations(empty_database, to=number - 1)
    waiting = (
        "SELECT DISTINCT pid FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        " AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
    )
    with (
        psycopg.connect(empty_database, autocommit=True) as conn,
        psycopg.connect(empty_database) as busy,
        ThreadPoolExecutor(1) as threads,
    ):
        first = "(SELECT user_id FROM tasks ORDER BY user_id LIMIT 1)"
        busy.execute(f"UPDATE tasks SET title = 'busy' WHERE user_id = {first}".encode())
        step = threads.submit(apply_migrations, empty_database, to=number, lock_timeout=PATIENCE)
        try:
            wait_until("the step to wait", lambda: bool(conn.execute(waiting).fetchall()))
            [(pid,)] = conn.execute(waiting).fetchall()
            asked = LOCKS[number].title().replace(" ", "") + "Lock"
            modes = list_locks(conn, pid)
            assert asked in modes
            assert modes <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock", asked}
            # Others read and write meanwhile.
            others = f"(SELECT id FROM users WHERE id <> {first} LIMIT 1)"
            conn.execute(f"INSERT INTO tasks (user_id, title) VALUES ({others}, 'new')".encode())
            conn.execute("SELECT count(*) FROM tasks")
        finally:
            busy.rollback()
        assert len(step.result(PATIENCE)) == 1


def test_the_documentation_says_what_each_step_locks() -> None:
    rows = PAGE.partition("\n## Changes that block no one\n")[2]
    for number, lock in LOCKS.items():
        [row] = [row for row in rows.splitlines() if row.startswith(f"| [{number:04}.")]
        assert row.split(" | ")[2].startswith(lock), row


@pytest.mark.parametrize("has_constraint", [True, False])
def test_not_null_reads_no_table_because_of_the_constraint(
    empty_database: str, tmp_path: Path, has_constraint: bool
) -> None:
    """By the statements of docs/database.md."""
    folder = tmp_path / "migrations"
    copy_released(folder)
    foreign_key, *_ = add_recipes(folder)
    apply_migrations(empty_database, to=number_of(foreign_key), folder=folder)
    [block] = [block for block in read_blocks(PAGE, "sql") if "SET NOT NULL" in block]
    add, validate, set_not_null, drop = block.split(";\n")[:4]
    notices: list[str] = []
    with psycopg.connect(empty_database, autocommit=True) as conn:
        if has_constraint:
            conn.execute(add.encode())
            conn.execute(validate.encode())
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        conn.execute("SET client_min_messages = debug1")
        conn.execute(set_not_null.encode())
        conn.execute(drop.encode())
        is_set = (
            "SELECT attnotnull FROM pg_attribute"
            " WHERE attrelid = 'tasks'::regclass AND attname = 'list_id'"
        )
        assert conn.execute(is_set).fetchone() == (True,)
    proof = "are sufficient to prove that it does not contain nulls"
    assert any(proof in notice for notice in notices) == has_constraint, notices
    assert ('verifying table "tasks"' in notices) != has_constraint, notices


def test_the_documentation_quotes_the_recipes() -> None:
    for path in RECIPES_DIR.iterdir():
        if not path.name.endswith(".rollback.sql"):
            assert path.read_text().strip() in PAGE, path.name
