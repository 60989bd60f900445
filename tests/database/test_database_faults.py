"""The database goes away, comes back, drops connections, or is slow: what clients notice."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from taskapi import create_app
from taskapi.config import load_config
from taskapi.operations import queries
from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import SECRET, Service, wait_until

pytestmark = pytest.mark.slow

UNAVAILABLE = "The database is not available"
TERMINATE = (
    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
    " WHERE application_name = 'taskapi' AND datname = current_database()"
)


@pytest.fixture
def own_service(postgres: EmbeddedPostgres, make_service: MakeService) -> Service:
    service = make_service(DATABASE_URL=postgres.url, DB_POOL_TIMEOUT="1")
    service.start()
    return service


@pytest.fixture
def own_user(own_service: Service) -> Iterator[Account]:
    with own_service.client() as client:
        yield Account.sign_up(client)


@contextmanager
def transaction(url: str, statement: str) -> Iterator[None]:
    """Hold the locks of a statement."""
    with psycopg.connect(url) as conn:
        conn.execute(statement)
        yield
        conn.rollback()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_database_that_is_away_is_a_503_until_it_is_back(
    postgres: EmbeddedPostgres, own_user: Account, own_service: Service, how: str
) -> None:
    """No restart of the service, and no answer lost that was given."""
    task = own_user.create("before")
    workers = own_service.process
    getattr(postgres, how)()
    for _ in range(3):
        assert_error(own_user.request("GET"), 503, UNAVAILABLE)
        assert_error(own_user.request("POST", json={"title": "lost"}), 503, UNAVAILABLE)
        assert_error(own_user.client.get("/ready"), 503, UNAVAILABLE)
        assert own_user.client.get("/health").status_code == 200
    assert_error(own_user.request("POST", json={"title": ""}), 422)
    postgres.start()
    wait_until("the service to be right again", lambda: own_service.answers("/ready"))
    for _ in range(10):
        assert own_user.request("GET").json() == [task]
    assert own_service.process is workers
    assert "Booting worker" in own_service.log.read_text()
    assert own_service.log.read_text().count("Booting worker") == 2


def test_connections_that_the_server_closed_while_idle_are_not_noticed(
    own_user: Account, postgres: EmbeddedPostgres
) -> None:
    """T094: reads and writes alike, every time."""
    with psycopg.connect(postgres.url, autocommit=True) as dba:
        for round in range(10):
            assert dba.execute(TERMINATE).fetchall()
            # Two workers: several requests, so that each of them has served one.
            for number in range(4):
                own_user.create(f"task {round}.{number}")
                assert own_user.request("GET").status_code == 200
    assert len(own_user.request("GET").json()) == 40


def test_a_restart_while_idle_is_not_noticed(
    own_user: Account, own_service: Service, postgres: EmbeddedPostgres
) -> None:
    task = own_user.create()
    postgres.stop()
    postgres.start()
    for _ in range(8):
        assert own_user.request("GET").json() == [task]
        own_user.request("PATCH", f"/{task['id']}/complete", json={"completed": False})
        task = own_user.request("GET", f"/{task['id']}").json()


class Waiting:
    """The service's backends that wait for a lock, each seen once."""

    def __init__(self, dba: psycopg.Connection) -> None:
        self.dba = dba
        self.seen: set[int] = set()

    def pids(self) -> set[int]:
        rows = self.dba.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'taskapi'"
            " AND wait_event_type = 'Lock' AND datname = current_database()"
        )
        return {pid for (pid,) in rows} - self.seen

    def wait_for_another(self) -> None:
        wait_until("a backend to wait", lambda: bool(self.pids()))

    def terminate(self) -> None:
        self.wait_for_another()
        for pid in self.pids():
            self.seen.add(pid)
            self.dba.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])


@pytest.fixture
def waiting(postgres: EmbeddedPostgres) -> Iterator[Waiting]:
    with psycopg.connect(postgres.url, autocommit=True) as dba:
        yield Waiting(dba)


def test_a_read_whose_connection_breaks_is_repeated_once(
    own_user: Account, postgres: EmbeddedPostgres, waiting: Waiting
) -> None:
    task = own_user.create()
    with ThreadPoolExecutor(1) as thread:
        with transaction(postgres.url, "LOCK TABLE tasks"):
            answer = thread.submit(own_user.request, "GET")
            waiting.terminate()
            waiting.wait_for_another()
        assert answer.result().json() == [task]


def test_a_read_whose_connection_breaks_twice_is_a_503(
    own_user: Account, postgres: EmbeddedPostgres, waiting: Waiting
) -> None:
    with ThreadPoolExecutor(1) as thread, transaction(postgres.url, "LOCK TABLE tasks"):
        answer = thread.submit(own_user.request, "GET")
        waiting.terminate()
        waiting.terminate()
        assert_error(answer.result(), 503, UNAVAILABLE)


def test_a_write_whose_connection_breaks_is_never_repeated(
    own_user: Account, postgres: EmbeddedPostgres, waiting: Waiting
) -> None:
    """It might have been committed: the client is told, and nothing is done twice."""
    with ThreadPoolExecutor(1) as thread, transaction(postgres.url, "LOCK TABLE tasks"):
        answer = thread.submit(own_user.request, "POST", json={"title": "once at most"})
        waiting.terminate()
        assert_error(answer.result(), 503, UNAVAILABLE)
        assert not waiting.pids()
    assert own_user.request("GET").json() == []


def test_a_statement_past_its_limit_is_a_503(make_service: MakeService, database_url: str) -> None:
    service = make_service(DATABASE_URL=database_url, DB_STATEMENT_TIMEOUT="0.2")
    service.start()
    with service.client() as client:
        user = Account.sign_up(client)
        task = user.create()
        lock = f"SELECT advance_clock('{user.id}')"
        with transaction(database_url, lock):
            for _ in range(3):
                response = user.request("PUT", f"/{task['id']}", json={"title": "late"})
                assert_error(response, 503, UNAVAILABLE)
        assert user.request("GET").json() == [task]


def test_no_connection_in_time_is_a_503(make_service: MakeService, database_url: str) -> None:
    service = make_service(
        DATABASE_URL=database_url,
        DB_POOL_MIN="1",
        DB_POOL_MAX="1",
        DB_POOL_TIMEOUT="0.2",
        WEB_CONCURRENCY="1",
    )
    service.start()
    with service.client() as client, ThreadPoolExecutor(1) as thread:
        user = Account.sign_up(client)
        task = user.create()
        lock = f"SELECT advance_clock('{user.id}')"
        with (
            psycopg.connect(database_url, autocommit=True) as dba,
            transaction(database_url, lock),
        ):
            first = thread.submit(user.request, "PATCH", f"/{task['id']}/complete")
            Waiting(dba).wait_for_another()
            assert_error(user.request("GET"), 503, UNAVAILABLE)
            assert client.get("/health").status_code == 200
        assert first.result().status_code == 200


def test_a_type_that_changes_under_a_prepared_plan_costs_a_connection_once(
    make_service: MakeService, own_url: str
) -> None:
    """PostgreSQL would refuse that connection's plan for ever."""
    one = {"WEB_CONCURRENCY": "1", "DB_POOL_MIN": "1", "DB_POOL_MAX": "1"}
    service = make_service(DATABASE_URL=own_url, **one)
    service.start()
    with service.client() as client:
        user = Account.sign_up(client)
        user.create()
        for _ in range(10):  # the first prepares it; from the sixth on the plan may be kept
            assert user.request("GET").status_code == 200
        with psycopg.connect(own_url, autocommit=True) as conn:
            conn.execute("ALTER TABLE tasks ALTER COLUMN description TYPE varchar")
        statuses = [user.request("GET").status_code for _ in range(5)]
        assert statuses == [503, 200, 200, 200, 200]


def test_the_end_of_a_long_transaction_is_an_outage_and_no_defect(
    make_service: MakeService, postgres: EmbeddedPostgres
) -> None:
    """PostgreSQL ends the connection too, with an error of a class of its own."""
    with psycopg.connect(postgres.url, autocommit=True) as dba:
        dba.execute("ALTER ROLE postgres SET transaction_timeout = '1s'")
    service = make_service(DATABASE_URL=postgres.url)
    service.start()
    with service.client() as client:
        user = Account.sign_up(client)
        task = user.create()
        with psycopg.connect(postgres.url, options="-c transaction_timeout=0") as blocker:
            blocker.execute("SELECT advance_clock(%s)", [user.id])
            assert user.request("PATCH", f"/{task['id']}/complete").status_code == 503
        assert user.request("PATCH", f"/{task['id']}/complete").status_code == 200


def test_fifty_clients_at_once_all_succeed(service: Service, user: Account) -> None:
    """T088 to T091, on two workers of eight threads."""
    barrier = threading.Barrier(50)
    started = time.monotonic()

    def create(number: int) -> httpx.Response:
        with service.client() as client:
            barrier.wait()
            json = {"title": f"task {number}"}
            return client.post(user.tasks, json=json, headers=user.headers)

    with ThreadPoolExecutor(50) as threads:
        futures = [threads.submit(create, number) for number in range(50)]
        wait(futures)
    answers = [future.result() for future in futures]
    assert [answer.status_code for answer in answers] == [201] * 50, answers
    titles = {task["title"] for task in user.request("GET").json()}
    assert titles == {f"task {number}" for number in range(50)}
    log = service.log.read_text()
    assert not re.search("too many (connections|clients)|couldn't get a connection", log)
    print(f"\n50 clients at once: {time.monotonic() - started:.2f} s")


def test_the_pool_stays_within_its_size_and_its_waits_are_counted(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """T089, T093: 50 threads on a pool of five, read from the pool itself."""
    variables = {"DB_POOL_MIN": "2", "DB_POOL_MAX": "5", "DB_POOL_TIMEOUT": "60"}
    variables["WEB_THREADS"] = "51"
    app = create_app(load_config({"DATABASE_URL": database_url, "JWT_SECRET": SECRET, **variables}))
    database = app.extensions["taskapi.database"]
    database.open()
    try:
        barrier = threading.Barrier(50)

        def read() -> list[str]:
            barrier.wait()
            with app.app_context():
                return queries.list_applied_migrations()

        with ThreadPoolExecutor(50) as threads:
            results = [future.result() for future in [threads.submit(read) for _ in range(50)]]
        assert all(results)
        stats = database.stats()
    finally:
        database.close()
    assert stats["requests_num"] == 50
    assert 2 <= stats["pool_size"] <= 5
    assert stats.get("requests_errors", 0) == 0
    with capsys.disabled():
        figures = ("pool_size", "pool_max", "requests_num", "requests_queued", "requests_wait_ms")
        print("\npool:", {name: stats.get(name, 0) for name in figures})
