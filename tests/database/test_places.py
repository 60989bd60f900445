"""One user's requests take a share of the database's places, and leave the rest to others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psycopg

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import wait_until


@contextmanager
def busy_processors() -> Iterator[None]:
    """Use as much of each processor as the scheduler gives to one process."""
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"


def test_a_user_whose_statements_hang_does_not_hinder_others(
    make_service: MakeService, own_url: str
) -> None:
    """20 writes wait for the user's clock: two of them hold places, and the others get 429.

    Until the other user comes, the first one is alone, and six hold places.
    """
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
        wait_until("six to hang", lambda: database.execute(LOCKED, waiting).fetchone() == (6,))
        for n in range(50):
            assert other.create(str(n))["title"] == str(n)
            assert client.get("/health").status_code == 200
        wait_until("14 to be refused", lambda: sum(write.done() for write in hanging) == 14)
        # With another user about, it has half its share: one place.
        assert_error(user.request("PUT", path, json={"title": "more"}), 429)
        lock.rollback()
        answers = [write.result() for write in hanging]
        assert sorted(answer.status_code for answer in answers) == [200] * 6 + [429] * 14
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


def test_a_user_who_is_alone_may_use_what_nobody_else_does(
    make_service: MakeService, own_url: str
) -> None:
    """16 connections list 1,000 tasks each, beside another process that takes the processors."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    with (
        service.client() as client,
        psycopg.connect(own_url, autocommit=True) as database,
        busy_processors(),
        ThreadPoolExecutor(16) as threads,
    ):
        user = Account.insert(client, database)
        database.execute(
            "INSERT INTO tasks (user_id, title, description)"
            " SELECT %s, n::text, repeat('words ', 100) FROM generate_series(1, 1000) AS n",
            [user.id],
        )
        answers = [threads.submit(user.request, "GET", "?limit=1000") for _ in range(200)]
        statuses = Counter(answer.result().status_code for answer in answers)
    assert statuses == {200: 200}


def test_a_flood_of_one_user_is_refused_and_others_are_served(
    make_service: MakeService, own_url: str
) -> None:
    """What a burst may do, and no user for long while there are others."""
    service = make_service(DATABASE_URL=own_url, WEB_CONCURRENCY="1")
    service.start()
    with (
        service.client() as client,
        psycopg.connect(own_url, autocommit=True) as database,
        ThreadPoolExecutor(8) as threads,
    ):
        user, other = Account.insert(client, database), Account.insert(client, database)
        path = f"/{user.create()['id']}"
        is_over = Event()
        statuses: Counter[int] = Counter()

        def flood() -> None:
            while not is_over.is_set():
                answer = user.request("PUT", path, json={"title": "again"})
                statuses[answer.status_code] += 1

        floods = [threads.submit(flood) for _ in range(8)]

        def is_refused() -> bool:
            assert other.request("GET").status_code == 200
            return statuses[429] > 0

        wait_until("a refusal", is_refused)
        is_over.set()
        for each in floods:
            each.result()
        assert set(statuses) == {200, 429}
        # One request after the other is no flood, also now.
        for _ in range(20):
            assert other.request("GET").status_code == 200
            assert user.request("PUT", path, json={"title": "later"}).status_code == 200
