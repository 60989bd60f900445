"""The change feed comes to a database that the previous release is writing to."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.types.json import Jsonb

from taskapi.migrate.run import apply_migrations
from tests.support.accounts import Account
from tests.support.feeds import Follower, Readers, read_list
from tests.support.fixtures import MakeService
from tests.support.service import PATIENCE, wait_until

pytestmark = pytest.mark.slow

# The last migration of the previous release, and its statements.
BEFORE = 7
TASKS = 20_000
WRITERS = 4

INSERT = """
INSERT INTO tasks (user_id, title, description, completed)
SELECT %(user_id)s::uuid, given.title, given.description, given.completed
FROM jsonb_populate_record(NULL::tasks, %(members)s) AS given
RETURNING id, user_id, title, description, completed, created_at, updated_at
"""
UPDATE = """
WITH target AS (
    SELECT id, updated_at FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s FOR UPDATE
), changed AS (
    UPDATE tasks
    SET (title, description, completed) = (
        SELECT given.title, given.description, given.completed
        FROM jsonb_populate_record(tasks, %(members)s) AS given
    )
    FROM target
    WHERE tasks.user_id = %(user_id)s AND tasks.id = target.id
    RETURNING tasks.id, tasks.updated_at
)
SELECT changed.id, changed.updated_at FROM target LEFT JOIN changed ON changed.id = target.id
"""
DELETE = """
WITH target AS (
    SELECT id, updated_at FROM tasks WHERE user_id = %(user_id)s AND id = %(id)s FOR UPDATE
), deleted AS (
    DELETE FROM tasks USING target
    WHERE tasks.user_id = %(user_id)s AND tasks.id = target.id
    RETURNING tasks.id
)
SELECT deleted.id FROM target LEFT JOIN deleted ON deleted.id = target.id
"""
ONCE = """
WITH candidate AS MATERIALIZED (
    SELECT gen_random_uuid() AS id, given.title, given.description, given.completed
    FROM jsonb_populate_record(NULL::tasks, %(members)s) AS given
), claimed AS (
    INSERT INTO idempotency_keys (user_id, key, request_hash, task_id)
    SELECT %(user_id)s::uuid, gen_random_uuid()::text, sha256(''), candidate.id FROM candidate
    ON CONFLICT (user_id, key) DO UPDATE SET key = excluded.key
    RETURNING user_id, request_hash, task_id, created_at
), created AS (
    INSERT INTO tasks (user_id, id, title, description, completed)
    SELECT
        %(user_id)s::uuid, candidate.id, candidate.title, candidate.description,
        candidate.completed
    FROM candidate JOIN claimed ON claimed.task_id = candidate.id
    RETURNING id
)
SELECT claimed.task_id FROM candidate LEFT JOIN claimed ON true
"""
LIST = """
SELECT id FROM tasks
WHERE user_id = %(user_id)s AND (created_at, id) < ('infinity', %(id)s)
ORDER BY created_at DESC, id DESC LIMIT 21
"""


class Previous:
    """Workers of the previous release, each of which acts for one user."""

    def __init__(self, url: str, users: list[Account]) -> None:
        self.url = url
        self.users = users
        self.statements = [0] * len(users)
        self._ended = threading.Event()
        self._workers: list[Future[None]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(len(self.users)) as threads:
            self._workers = [
                threads.submit(self._work, number) for number in range(len(self.users))
            ]
            try:
                self.wait_for_statements()
                yield
            finally:
                self.stop()
            for worker in self._workers:
                worker.result(PATIENCE)

    def stop(self) -> None:
        """Begin no further statement."""
        self._ended.set()

    def wait_for_statements(self) -> None:
        before = list(self.statements)

        def have_run() -> bool:
            for worker in self._workers:
                if worker.done():
                    worker.result()
            return all(now >= old + 50 for now, old in zip(self.statements, before, strict=True))

        wait_until("statements of each worker", have_run)

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        user = self.users[number].id
        # As the pool's connections: each statement is prepared soon.
        with psycopg.connect(self.url, autocommit=True, prepare_threshold=1) as conn:
            ids = [
                row[0]
                for row in conn.execute("SELECT id::text FROM tasks WHERE user_id = %s", [user])
            ]
            while not self._ended.is_set():
                statement = chance.choice((INSERT, UPDATE, UPDATE, DELETE, ONCE, LIST))
                members = Jsonb({"title": f"{chance.random()}", "completed": True})
                with conn.pipeline():
                    conn.execute(
                        "SELECT set_config('role', 'taskapi_user', true),"
                        " set_config('app.user_id', %s, true),"
                        " set_config('statement_timeout', '5s', true)",
                        [user],
                    )
                    params = {"user_id": user, "id": chance.choice(ids), "members": members}
                    conn.execute(statement.encode(), params)
                self.statements[number] += 1


@pytest.fixture
def users(empty_database: str, make_service: MakeService) -> Iterator[list[Account]]:
    """Users of a database of the previous release, who have tasks, and the service for later."""
    apply_migrations(empty_database, to=BEFORE)
    service = make_service(DATABASE_URL=empty_database)
    with service.client() as client:
        users = [Account.insert(client, empty_database) for _ in range(WRITERS)]
        with psycopg.connect(empty_database, autocommit=True) as dba:
            for user in users:
                dba.execute(
                    "INSERT INTO tasks (user_id, title, updated_at)"
                    " SELECT %s, number, '2026-01-01' FROM generate_series(1, %s) AS number",
                    [user.id, TASKS // WRITERS],
                )
            dba.execute("ANALYZE")
        yield users


def test_no_statement_of_the_previous_release_fails_and_the_feed_is_complete(
    empty_database: str, make_service: MakeService, users: list[Account]
) -> None:
    """Followers that begin just after the migration get all that its workers still write."""
    previous = Previous(empty_database, users)
    with previous.running():
        assert len(apply_migrations(empty_database)) >= 3
        service = make_service(DATABASE_URL=empty_database)
        service.start()
        with service.client() as client:
            followers = [
                Follower(Account(client, user.id, user.email, user.token)) for user in users
            ]
            readers = Readers(*followers)
            with readers.running():
                previous.wait_for_statements()
                previous.stop()
            readers.assert_complete()


def test_a_transaction_that_is_older_than_the_feed_is_in_it(
    empty_database: str, make_service: MakeService, users: list[Account]
) -> None:
    """One that has written is waited for; one that has only begun writes as the new ones do."""
    written, begun = users[:2]
    change = "UPDATE tasks SET title = 'changed' WHERE user_id = %s AND title = '7'"
    # Indexes that are built CONCURRENTLY have waited for older transactions already.
    apply_migrations(empty_database, to=BEFORE + 2)
    with psycopg.connect(empty_database) as first, psycopg.connect(empty_database) as second:
        second.execute("SELECT now()")
        first.execute(change, [written.id])
        waits: list[str] = []

        def report(line: str) -> None:
            if "trying again" in line:
                waits.append(line)
                first.commit()

        assert apply_migrations(empty_database, to=BEFORE + 3, report=report)
        assert len(waits) == 1
        apply_migrations(empty_database)
        service = make_service(DATABASE_URL=empty_database)
        service.start()
        with service.client() as client:
            accounts = [Account(client, user.id, user.email, user.token) for user in users[:2]]
            followers = [Follower(account) for account in accounts]
            second.execute(change, [begun.id])
            second.commit()
            for follower in followers:
                follower.catch_up()
                assert follower.tasks == read_list(follower.user)
                titles = [task["title"] for task in follower.tasks.values()]
                assert titles.count("changed") == 1
