"""The recipes of docs/recipes, run on a table that the service is writing to."""

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

from taskapi.migrate.files import MigrationError, number_of
from taskapi.migrate.run import apply_migrations, rollback_migrations
from tests.support.accounts import Account
from tests.support.fixtures import MakeService
from tests.support.migration_tools import RECIPES_DIR, add_recipes, copy_released, dump_schema
from tests.support.service import PATIENCE, ROOT, Service, wait_until

pytestmark = pytest.mark.slow

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
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO users (email, password_hash)"
            " SELECT n || '@example.com', '!' FROM generate_series(1, 100) AS n"
        )
        conn.execute("SET session_replication_role = replica")  # the trigger sets updated_at
        conn.execute(
            "INSERT INTO tasks (user_id, title, updated_at)"
            " SELECT id, CASE WHEN n % 3 = 0 THEN '!' ELSE '' END || n, '2026-01-01'"
            f" FROM users, generate_series(1, {ROWS // 100}) AS n".encode()
        )
        conn.execute("ANALYZE")


def add_released_and_recipes(folder: Path, name: str) -> str:
    """Make a folder of this release's migrations and the recipes; return the id of one recipe."""
    copy_released(folder)
    [id] = [id for id in add_recipes(folder) if id.endswith(f".{name}")]
    return id


@pytest.mark.parametrize("beside", ["nothing else", "a long query"])
def test_no_request_fails_while_the_recipes_run(
    empty_database: str,
    make_service: MakeService,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    beside: str,
) -> None:
    """With a long query at work too, the first statement that needs its table has to try again."""
    folder = tmp_path / "migrations"
    released = copy_released(folder)
    apply_migrations(empty_database, folder=folder)
    schema = dump_schema(empty_database)
    insert_tasks(empty_database)
    recipes = add_recipes(folder)
    service = make_service(DATABASE_URL=empty_database)
    service.start()
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
        last = len(released) + len(recipes)
        before_the_drop = recipes[:-2]
        applied = apply_migrations(empty_database, to=last - 2, folder=folder, report=report)
        assert applied == before_the_drop
        assert_applied(empty_database)
        assert apply_migrations(empty_database, folder=folder, report=report) == recipes[-2:]
        during, traffic.seconds = traffic.seconds, []
        undone = rollback_migrations(empty_database, to=len(released), folder=folder)
        assert undone == recipes[::-1]
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
    def query(statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(url) as conn:
            return conn.execute(statement.encode()).fetchall()

    assert query("SELECT count(*) FROM tasks WHERE priority IS NULL") == [(0,)]
    # The trigger hasn't run for the rows that were filled.
    assert query("SELECT count(*) FROM tasks WHERE updated_at = '2026-01-01'") == [(ROWS,)]
    assert query(
        "SELECT bool_and((priority = 1) = (title LIKE '!%')) FROM tasks"
        " WHERE updated_at = '2026-01-01'"
    ) == [(True,)]
    assert query(
        "SELECT conname::text, convalidated, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'tasks'::regclass AND conname ~ 'priority|list|pkey' AND contype <> 'n'"
        " ORDER BY 1"
    ) == [
        ("tasks_list_id_fkey", True, "FOREIGN KEY (list_id) REFERENCES lists(id)"),
        ("tasks_pkey", True, "PRIMARY KEY (user_id, id)"),
        (
            "tasks_priority_check",
            True,
            "CHECK (((priority >= 0) AND (priority <= 3)))",
        ),
    ]
    assert query(
        "SELECT attnotnull FROM pg_attribute"
        " WHERE attrelid = 'tasks'::regclass AND attname = 'priority'"
    ) == [(True,)]
    assert query(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'tasks_user_id_priority_idx'::regclass"
    ) == [(True,)]


def test_a_fill_says_how_far_it_is_and_goes_on_where_it_was_stopped(
    empty_database: str, tmp_path: Path
) -> None:
    """By a row that stays locked, here."""
    folder = tmp_path / "migrations"
    number = len(copy_released(folder)) + 1
    apply_migrations(empty_database, folder=folder)
    insert_tasks(empty_database)
    column, fill, *_ = add_recipes(folder)
    apply_migrations(empty_database, to=number, folder=folder)
    schema = dump_schema(empty_database)
    lines: list[str] = []

    def report(line: str) -> None:
        if not line.startswith("running "):  # what any long statement reports
            lines.append(line)

    def apply() -> list[str]:
        lines.clear()
        return apply_migrations(
            empty_database, to=number + 1, folder=folder, report=report, tries=1
        )

    with psycopg.connect(empty_database) as user:
        middle = f"(SELECT id FROM tasks ORDER BY user_id, id OFFSET {ROWS // 2} LIMIT 1)"
        user.execute(f"SELECT id FROM tasks WHERE id = {middle} FOR UPDATE".encode())
        with pytest.raises(MigrationError, match="no lock after 1 tries"):
            apply()
        assert lines[0] == f"1000 of about {ROWS} tasks"
        assert lines[-1] == f"{ROWS // 2} of about {ROWS} tasks"
    assert apply() == [fill]
    assert lines[0] == f"going on after {ROWS // 2} tasks"
    assert lines[1] == f"{ROWS // 2 + 1000} of about {ROWS} tasks"
    assert lines[-1] == f"{ROWS} of about {ROWS} tasks"
    assert dump_schema(empty_database) == schema
    with psycopg.connect(empty_database) as conn:
        unfilled = "SELECT count(*) FROM tasks WHERE priority IS NULL"
        assert conn.execute(unfilled).fetchone() == (0,)
    assert rollback_migrations(empty_database, 2, folder=folder) == [fill, column]


def test_a_fill_that_was_given_up_is_forgotten_with_its_column(
    empty_database: str, tmp_path: Path
) -> None:
    """Otherwise the next one would leave out what this one has filled."""
    folder = tmp_path / "migrations"
    number = len(copy_released(folder)) + 1
    apply_migrations(empty_database, folder=folder)
    insert_tasks(empty_database)
    schema = dump_schema(empty_database)
    column, *_ = add_recipes(folder)
    apply_migrations(empty_database, to=number, folder=folder)
    with psycopg.connect(empty_database) as user:
        user.execute("SELECT id FROM tasks FOR UPDATE")
        with pytest.raises(MigrationError, match="no lock after 1 tries"):
            apply_migrations(empty_database, folder=folder, tries=1)
    assert rollback_migrations(empty_database, folder=folder) == [column]
    assert dump_schema(empty_database) == schema


def test_an_index_that_failed_half_way_is_built_again(empty_database: str, tmp_path: Path) -> None:
    """CREATE INDEX CONCURRENTLY leaves an invalid index; IF NOT EXISTS would be content with it."""
    folder = tmp_path / "migrations"
    number = number_of(add_released_and_recipes(folder, "add-an-index"))
    apply_migrations(empty_database, to=number - 1, folder=folder)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE INDEX tasks_user_id_priority_idx ON tasks (user_id, priority)")
        conn.execute(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'tasks_user_id_priority_idx'::regclass"
        )
        apply_migrations(empty_database, to=number, folder=folder)
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass"
        assert conn.execute(valid, ["tasks_user_id_priority_idx"]).fetchone() == (True,)


@pytest.mark.parametrize("has_constraint", [True, False])
def test_not_null_reads_no_table_because_of_the_constraint(
    empty_database: str, tmp_path: Path, has_constraint: bool
) -> None:
    folder = tmp_path / "migrations"
    id = add_released_and_recipes(folder, "set-not-null")
    apply_migrations(empty_database, to=number_of(id) - 1, folder=folder)
    lines = (folder / f"{id}.sql").read_text().splitlines()
    [statement] = [line for line in lines if "SET NOT NULL" in line]
    notices: list[str] = []
    with psycopg.connect(empty_database, autocommit=True) as conn:
        if not has_constraint:
            conn.execute("ALTER TABLE tasks DROP CONSTRAINT tasks_priority_is_set")
            conn.execute("ALTER TABLE tasks DROP CONSTRAINT tasks_priority_check")
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        conn.execute("SET client_min_messages = debug1")
        conn.execute(statement.encode())
    proof = "are sufficient to prove that it does not contain nulls"
    assert any(proof in notice for notice in notices) == has_constraint, notices
    assert ('verifying table "tasks"' in notices) != has_constraint, notices


def test_the_documentation_quotes_the_recipes() -> None:
    text = (ROOT / "docs" / "database.md").read_text()
    for path in RECIPES_DIR.iterdir():
        if not path.name.endswith(".rollback.sql"):
            assert path.read_text().strip() in text, path.name
