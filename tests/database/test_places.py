"""One user's requests take a share of the database's places, and leave the rest to others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import wait_until

LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"


def test_a_user_whose_statements_hang_does_not_hinder_others(
    make_service: MakeService, own_url: str
) -> None:
    """20 writes wait for the user's clock: two of them hold places, and the others get 429."""
    service = make_service(DATABASE_URL=own_url, WEB_CONCURRENCY="1", DB_STATEMENT_TIMEOUT="60")
    service.start()
    with (
        service.client() as client,
        psycopg.connect(own_url) as lock,
        psycopg.connect(own_url, autocommit=True) as database,
        ThreadPoolExecutor(20) as threads,
    ):
        user, other = Account.insert(client, database), Account.insert(client, database)
        path = f"/{user.create()['id']}"
        lock.execute("SELECT advance_clock(%s)", [user.id])
        hanging = [
            threads.submit(user.request, "PUT", path, json={"title": str(n)}) for n in range(20)
        ]
        waiting = [lock.info.dbname]
        wait_until("two to hang", lambda: database.execute(LOCKED, waiting).fetchone() == (2,))
        for n in range(50):
            assert other.create(str(n))["title"] == str(n)
            assert client.get("/health").status_code == 200
        wait_until("18 to be refused", lambda: sum(write.done() for write in hanging) == 18)
        assert database.execute(LOCKED, waiting).fetchone() == (2,)
        lock.rollback()
        answers = [write.result() for write in hanging]
        assert sorted(answer.status_code for answer in answers) == [200] * 2 + [429] * 18
        for answer in answers:
            if answer.status_code == 429:
                assert_error(answer, 429, "Too many requests at once: try again later")
                assert answer.headers["Retry-After"] == "1"
        assert user.request("PUT", path, json={"title": "later"}).status_code == 200


def test_a_burst_of_one_user_is_served(make_service: MakeService, own_url: str) -> None:
    """Short statements wait for each other instead of being refused."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    with (
        service.client() as client,
        psycopg.connect(own_url, autocommit=True) as database,
        ThreadPoolExecutor(20) as threads,
    ):
        user = Account.insert(client, database)
        answers = [threads.submit(user.request, "POST", json={"title": str(n)}) for n in range(60)]
        assert [answer.result().status_code for answer in answers] == [201] * 60
