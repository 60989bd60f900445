"""The roles of deploy/roles-of-*.sql: one that migrates, and one with less that serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres, find_programs
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from taskapi.database.statements import MIGRATION_STATEMENTS, released_migrations
from taskapi.migrate.files import MigrationError, number_of
from taskapi.migrate.run import apply_migrations, rollback_migrations
from tests.support.accounts import Account
from tests.support.fixtures import MakePostgres, MakeService, as_uri
from tests.support.migration_tools import (
    add_migration,
    add_recipes,
    copy_released,
    dump_schema,
    run_program,
)
from tests.support.pages import read_blocks, run_shell
from tests.support.postgres import UNSYNCED, copy_data, make_data
from tests.support.service import PATIENCE, ROOT, environment, wait_until

PAGE = (ROOT / "docs" / "database.md").read_text()
[INSTALL] = read_blocks(PAGE.partition("\n## Roles\n")[2].partition("\n## ")[0])
DUMP, RESTORE = read_blocks(PAGE.partition("\n## Backup and restore\n")[2].partition("\n## ")[0])


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    """The data of a server that is set up as docs/database.md says, to be copied."""
    return make_data(folder / "roles", set_up)


@pytest.fixture(scope="module")
def shared_urls(folder: Path, data: Path) -> Iterator[dict[str, str]]:
    """For tests that change nothing: what they try is refused."""
    copy_data(data, folder / "shared-roles")
    with EmbeddedPostgres(folder / "shared-roles", settings=UNSYNCED) as postgres:
        yield urls_of(postgres)


@pytest.fixture
def urls(make_postgres: MakePostgres, data: Path) -> dict[str, str]:
    """A server of the test's own."""
    return urls_of(make_postgres(data))


def urls_of(postgres: EmbeddedPostgres) -> dict[str, str]:
    """Return the database's URI for each role."""
    params = conninfo_to_dict(postgres.url)
    names = ("postgres", "taskapi_owner", "taskapi")
    return {name: as_uri(**{**params, "dbname": "taskapi", "user": name}) for name in names}


def set_up(postgres: EmbeddedPostgres) -> None:
    """Do as docs/database.md says."""
    run_on(postgres, INSTALL)


def run_on(postgres: EmbeddedPostgres, commands: str, folder: Path = ROOT) -> str:
    """Run commands of docs/database.md as a DBA of the server, and return what they print."""
    given = conninfo_to_dict(postgres.url)
    programs = (find_programs(), Path(sys.executable).parent, os.environ["PATH"])
    variables = environment(
        PATH=":".join(map(str, programs)),
        PYTHONPATH=str(ROOT),
        PGHOST=str(given["host"]),
        PGPORT=str(given["port"]),
        PGUSER="postgres",
    )
    commands = commands.replace("@db.example.com/", "@/").replace(" deploy/", f" {ROOT}/deploy/")
    return run_shell(commands, folder, variables)


def test_the_service_works_with_its_own_role(
    urls: dict[str, str], make_service: MakeService
) -> None:
    service = make_service(DATABASE_URL=urls["taskapi"])
    service.start()
    with service.client() as client:
        account = Account.sign_up(client)
        task = account.create()
        path = f"/{task['id']}"
        assert account.request("GET").json() == [task]
        assert account.request("PUT", path, json={"title": "t"}).status_code == 200
        assert account.request("PATCH", f"{path}/complete").status_code == 200
        assert account.request("DELETE", path).status_code == 204


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "DROP TABLE tasks",
        "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
        "TRUNCATE tasks",
        "SELECT * FROM tasks",
        "SELECT * FROM users",
        "DELETE FROM users",
        "SELECT * FROM _yoyo_log",
        "SELECT * FROM _yoyo_checksum",
        "DELETE FROM _yoyo_migration",
        "SET ROLE taskapi_owner",
        "SET session_replication_role = replica",
        "COPY tasks TO PROGRAM 'true'",
    ],
)
def test_the_services_role_may_do_nothing_else(shared_urls: dict[str, str], statement: str) -> None:
    with (
        psycopg.connect(shared_urls["taskapi"]) as conn,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        conn.execute(statement.encode())


def test_the_services_role_cannot_migrate(shared_urls: dict[str, str]) -> None:
    message = "role taskapi may not create tables in schema public"
    with pytest.raises(MigrationError, match=message):
        apply_migrations(shared_urls["taskapi"])


def test_the_owner_needs_no_superuser(urls: dict[str, str], tmp_path: Path) -> None:
    """For the migrations, their ways back, the recipes, and a dump."""
    owner, folder = urls["taskapi_owner"], tmp_path / "migrations"
    released = copy_released(folder)
    [fill] = [id for id in released if id.endswith(".fill-completed-at")]
    schema = dump_schema(owner)
    rollback_migrations(owner, to=number_of(fill) - 2)
    with psycopg.connect(owner) as conn:
        conn.execute("INSERT INTO users (email, password_hash) VALUES ('a@example.com', '!')")
        conn.execute(
            "INSERT INTO tasks (user_id, title, completed) SELECT id, '!', true FROM users"
        )
    # One that fills a column, which row-level security would hide from the owner, too.
    assert fill in apply_migrations(owner)
    with psycopg.connect(urls["postgres"]) as conn:
        filled = "SELECT completed_at = updated_at FROM tasks"
        assert conn.execute(filled).fetchall() == [(True,)]
    assert dump_schema(owner) == schema
    assert len(add_recipes(folder)) == len(apply_migrations(owner, folder=folder))
    rollback_migrations(owner, to=number_of(released[-1]), folder=folder)
    assert dump_schema(owner) == schema
    assert "'!'" in run_program("pg_dump", owner, "--data-only", "--inserts", "--table=tasks")
    assert rollback_migrations(owner, None) == released_migrations()[::-1]
    assert apply_migrations(owner) == released_migrations()


def test_a_session_that_forgets_its_transaction_is_ended(shared_urls: dict[str, str]) -> None:
    """After a minute, for which no test waits. Migrations go on, which may wait for longer."""
    shown = {}
    for name in ("taskapi", "taskapi_owner"):
        with psycopg.connect(shared_urls[name]) as conn:
            [shown[name]] = (
                conn.execute("SHOW idle_in_transaction_session_timeout").fetchone() or []
            )
    assert shown == {"taskapi": "1min", "taskapi_owner": "0"}


def test_a_title_never_stands_in_the_servers_log(
    make_postgres: MakePostgres, make_service: MakeService, data: Path
) -> None:
    """Also if the server logs statements, as for those that are slow."""
    postgres = make_postgres(data, log_min_duration_statement="0")
    service = make_service(DATABASE_URL=postgres.url_of("taskapi", "taskapi"))
    service.start()
    with service.client() as client:
        account = Account.sign_up(client)
        task = account.create("a secret title")
        change = {"description": "a secret description"}
        account.request("PATCH", f"/{task['id']}", json=change).raise_for_status()
        account.request("GET", "?q=secret").raise_for_status()
    log = postgres.log.read_text()
    assert "INSERT INTO tasks" in log
    assert "secret" not in log


def test_progress_names_a_session_of_another_role(urls: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    copy_released(folder)
    add_migration(folder, "lock", "ALTER TABLE tasks ADD COLUMN more int;")
    with psycopg.connect(urls["postgres"], application_name="a report") as blocker:
        blocker.execute("LOCK TABLE tasks")
        blocked = f"because of pid {blocker.info.backend_pid} \\(postgres, a report, idle in"
        with pytest.raises(MigrationError, match=blocked):
            apply_migrations(urls["taskapi_owner"], folder=folder, tries=1)


def test_it_waits_for_a_session_that_it_may_not_see(urls: dict[str, str]) -> None:
    """The server shows the pid and the role of each session, and the rest to few."""
    lines: list[str] = []
    with (
        psycopg.connect(urls["postgres"], autocommit=True) as other,
        ThreadPoolExecutor(1) as threads,
    ):
        other.execute("REVOKE pg_read_all_stats FROM taskapi_owner")
        other.execute(MIGRATION_STATEMENTS["try_lock"])
        waiting = threads.submit(apply_migrations, urls["taskapi_owner"], report=lines.append)
        wait_until("its report", lambda: bool(lines) or waiting.done())
        other.execute(MIGRATION_STATEMENTS["release_lock"])
        assert waiting.result(PATIENCE) == []
        waits_for = f"waiting for pid {other.info.backend_pid} (postgres), which is migrating"
        assert lines[0] == waits_for


@pytest.mark.parametrize("where", ["the same server", "another server"])
def test_a_dump_restores_to_the_same_database(
    make_postgres: MakePostgres, make_service: MakeService, data: Path, tmp_path: Path, where: str
) -> None:
    """The commands of docs/database.md, and then the service works."""
    first = make_postgres(data)
    urls = urls_of(first)
    with psycopg.connect(urls["postgres"], autocommit=True) as conn:
        conn.execute("INSERT INTO users (email, password_hash) VALUES ('a@example.com', '!')")
        owned = conn.execute(PRIVILEGES).fetchone()
    run_on(first, DUMP, tmp_path)
    second = first if where == "the same server" else make_postgres()
    printed = run_on(second, RESTORE, tmp_path)
    assert "ERROR" not in printed
    assert "pending" not in printed
    # A restored BETWEEN has fewer parentheses: PostgreSQL has read its own rewriting of it.
    without = str.maketrans("", "", "()")
    restored = second.url_of("taskapi_owner", "restored")
    before = dump_schema(urls["taskapi_owner"]).translate(without)
    assert dump_schema(restored).translate(without) == before
    with psycopg.connect(second.url_of("postgres", "restored")) as conn:
        assert conn.execute(PRIVILEGES).fetchone() == owned
        assert conn.execute("SELECT email FROM users").fetchall() == [("a@example.com",)]
    service = make_service(DATABASE_URL=second.url_of("taskapi", "restored"))
    service.start()
    with service.client() as client:
        Account.sign_up(client).create()


# The database's owner, and what others may do with it, in an order of its own.
PRIVILEGES = """
SELECT datdba::regrole::text, array(SELECT unnest(datacl)::text ORDER BY 1)
FROM pg_database
WHERE datname = current_database()
"""


@pytest.mark.parametrize("name", ["postgres", "template1"])
def test_the_rights_are_not_given_in_another_database(
    make_postgres: MakePostgres, data: Path, name: str
) -> None:
    """Also by a psql that goes on after an error."""
    postgres = make_postgres(data)
    with psycopg.connect(postgres.url_of("postgres", name), autocommit=True) as conn:
        before = conn.execute(PRIVILEGES).fetchone()
        printed = run_on(postgres, f"psql -d {name} -f deploy/roles-of-database.sql")
        assert f"this is database {name}, not the service's: name that one" in printed
        assert conn.execute(PRIVILEGES).fetchone() == before


def test_the_rights_need_the_roles(make_postgres: MakePostgres) -> None:
    postgres = make_postgres()
    command = "createdb taskapi; psql -d taskapi -f deploy/roles-of-database.sql"
    assert "run roles-of-server.sql first" in run_on(postgres, command)
