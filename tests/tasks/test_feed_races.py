"""Nothing is missing in the change feed, whatever is committed at the same time, in any order."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from threading import Lock
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from tests.support.accounts import Account
from tests.support.feeds import EXCUSED, Follower, Readers, read_list
from tests.support.fixtures import MakeService
from tests.support.service import PATIENT, Service, wait_until

Connection = psycopg.Connection[Any]
Sessions = tuple[Connection, Connection]
Write = Callable[[Connection, str], object]

# Statements on tasks, whose clock the triggers advance.
WRITES: dict[str, Write] = {
    "an update": lambda conn, user: conn.execute(
        "UPDATE tasks SET completed = NOT completed WHERE user_id = %s AND title = %s",
        [user, name_of(conn)],
    ),
    "a deletion": lambda conn, user: conn.execute(
        "DELETE FROM tasks WHERE user_id = %s AND title = %s", [user, name_of(conn)]
    ),
    "a new task": lambda conn, user: conn.execute(
        "INSERT INTO tasks (user_id, title) VALUES (%s, 'new')", [user]
    ),
}
# Times that are simpler to take, and in the order of the commits only by luck.
UNLOCKED = ("clock_timestamp()", "now()")
UNLOCKED_CLOCK = """
CREATE OR REPLACE FUNCTION advance_clock(
    of_user uuid, after timestamptz DEFAULT '-infinity'
) RETURNS timestamptz
    LANGUAGE sql AS $$ SELECT {} $$;
"""


def name_of(conn: Connection) -> str:
    return conn.info.get_parameters()["application_name"]


def is_blocked(dba: Connection, conn: Connection) -> bool:
    row = dba.execute(
        "SELECT cardinality(pg_blocking_pids(%s))", [conn.info.backend_pid]
    ).fetchone()
    return row != (0,)


@contextmanager
def open_sessions(url: str) -> Iterator[Sessions]:
    """Lend two sessions, each of which writes the task that has its name."""
    with (
        psycopg.connect(url, application_name="first") as first,
        psycopg.connect(url, application_name="second") as second,
    ):
        yield first, second


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    with open_sessions(database_url) as sessions:
        yield sessions


@pytest.mark.parametrize("write", WRITES)
def test_the_second_writer_waits_for_the_first(
    user: Account, database: Connection, sessions: Sessions, write: str
) -> None:
    first, second = sessions
    user.create("first")
    user.create("second")
    follower = Follower(user)
    before = dict(follower.tasks)
    WRITES[write](first, user.id)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(WRITES["an update"], second, user.id)
        wait_until("the second to wait", lambda: is_blocked(database, second))
        follower.catch_up()
        assert follower.tasks == before
        first.commit()
        waiting.result()
    follower.catch_up()
    second.commit()
    follower.catch_up()
    assert follower.tasks == read_list(user)
    assert follower.tasks != before


def test_without_the_lock_a_change_is_missed(make_service: MakeService, own_url: str) -> None:
    """The one that has the earlier time, and is committed after a reader was there."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    with (
        service.client() as client,
        psycopg.connect(own_url, autocommit=True) as dba,
        open_sessions(own_url) as (first, second),
    ):
        for time, write in product(UNLOCKED, WRITES.values()):
            dba.execute(UNLOCKED_CLOCK.format(time).encode())
            user = Account.insert(client, dba)
            user.create("first")
            user.create("second")
            follower = Follower(user)
            before = dict(follower.tasks)
            write(first, user.id)
            WRITES["an update"](second, user.id)
            second.commit()
            follower.catch_up()
            seen = dict(follower.tasks)
            assert seen != before
            first.commit()
            follower.catch_up()
            assert follower.tasks == seen
            assert follower.tasks != read_list(user)


@pytest.mark.parametrize("write", WRITES)
def test_a_transaction_that_began_first_and_writes_last(
    user: Account, sessions: Sessions, write: str
) -> None:
    """Its now() is earlier than what readers have seen."""
    first, second = sessions
    user.create("first")
    user.create("second")
    first.execute("SELECT now()")
    WRITES["an update"](second, user.id)
    second.commit()
    follower = Follower(user)
    WRITES[write](first, user.id)
    follower.catch_up()
    first.commit()
    follower.catch_up()
    assert follower.tasks == read_list(user)


def test_a_savepoint_that_is_rolled_back_releases_the_clock(
    user: Account, sessions: Sessions
) -> None:
    """The next write of the same transaction takes a new time."""
    first, second = sessions
    user.create("first")
    user.create("second")
    follower = Follower(user)
    with first.transaction(force_rollback=True):
        WRITES["an update"](first, user.id)
    first.execute("SAVEPOINT before")
    WRITES["an update"](first, user.id)
    first.execute("ROLLBACK TO before")
    WRITES["an update"](second, user.id)
    second.commit()
    follower.catch_up()
    WRITES["an update"](first, user.id)
    first.commit()
    follower.catch_up()
    assert follower.tasks == read_list(user)


def test_the_first_write_of_a_user_is_rolled_back(
    user: Account, database: Connection, sessions: Sessions
) -> None:
    """The clock's row goes with it, while the second waits to make the same row."""
    first, second = sessions
    follower = Follower(user)
    WRITES["a new task"](first, user.id)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(WRITES["a new task"], second, user.id)
        wait_until("the second to wait", lambda: is_blocked(database, second))
        first.rollback()
        waiting.result()
    WRITES["a new task"](second, user.id)
    follower.catch_up()
    second.commit()
    follower.catch_up()
    assert follower.tasks == read_list(user)
    assert len(follower.tasks) == 2


def test_a_snapshot_that_is_older_than_the_clock_can_not_write(
    user: Account, sessions: Sessions
) -> None:
    first, second = sessions
    user.create("first")
    user.create("second")
    first.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    first.execute("SELECT 1 FROM tasks")
    WRITES["an update"](second, user.id)
    second.commit()
    with pytest.raises(errors.SerializationFailure):
        WRITES["an update"](first, user.id)


class Writers:
    """Writers of one user, by HTTP and by SQL, until they have made a number of changes."""

    def __init__(
        self, service: Service, user: Account, url: str, readers: Readers, goal: int
    ) -> None:
        self.service = service
        self.user = user
        self.url = url
        self.readers = readers
        self.goal = goal
        self.batch = max(20, goal // 100)
        # A transaction waits for readers, and all writers for it: the more it writes, the fewer.
        self.typed = max(12, goal // 500)
        # Half of them exist at a time: they are created, deleted and created again.
        self.ids = [str(uuid.uuid4()) for _ in range(max(400, goal // 20))]
        self.changes = 0
        self.outcomes: dict[str, int] = {}
        self._lock = Lock()

    def count(self, outcome: str, changes: int) -> None:
        with self._lock:
            self.changes += changes
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def write_by_http(self, number: int) -> None:
        chance = random.Random(number)
        with self.service.client() as client:
            user = Account(client, self.user.id, self.user.email, self.user.token)
            while self.changes < self.goal:
                id = f"/{chance.choice(self.ids)}"
                method, path, options = chance.choice(
                    (
                        ("POST", "", {"json": {"title": "posted"}}),
                        (
                            "PUT",
                            id,
                            {"json": {"title": "put"}, "headers": {"If-None-Match": "*"}},
                        ),
                        ("PATCH", id, {"json": {"title": f"patched {chance.random()}"}}),
                        ("PATCH", f"{id}/complete", {}),
                        ("DELETE", id, {}),
                        ("POST", "/batch", {"json": self.choose_operations(chance)}),
                    )
                )
                response = user.request(method, path, **options)
                status = response.status_code
                assert status in {200, 201, 204, 404, 409, 412, *EXCUSED}, response.text
                changes = int(status < 300)
                if path == "/batch" and changes:
                    changes = sum(entry["status"] < 300 for entry in response.json()["results"])
                self.count(f"{method} {status}", changes)

    def choose_operations(self, chance: random.Random) -> dict[str, Any]:
        members: dict[str, dict[str, Any]] = {
            "create": {"title": "created"},
            "update": {"title": f"updated {chance.random()}"},
            "delete": {},
        }
        operations = []
        for id in chance.sample(self.ids, chance.randint(2, self.batch)):
            op = chance.choice(list(members))
            operations.append({"op": op, "id": id, **members[op]})
        return {"operations": operations, "atomic": chance.random() < 0.05}

    def write_by_sql(self, number: int) -> None:
        """Begin, let others commit, write, let readers read, then commit or roll back."""
        chance = random.Random(number)
        with psycopg.connect(self.url) as conn:
            while self.changes < self.goal:
                conn.execute("SELECT now()")
                if chance.random() < 0.5:
                    self.readers.wait_for_page()
                try:
                    changes = self.write_several(conn, chance)
                    self.readers.wait_for_page()
                    if chance.random() < 0.2:
                        conn.rollback()
                        self.count("rolled back", 0)
                    else:
                        conn.commit()
                        self.count("committed", changes)
                except (errors.DeadlockDetected, errors.UniqueViolation) as error:
                    conn.rollback()
                    self.count(type(error).__name__, 0)

    def write_several(self, conn: Connection, chance: random.Random) -> int:
        user = self.user.id
        if chance.random() < 0.5:
            return conn.execute(
                "UPDATE tasks SET title = 'typed' WHERE user_id = %s AND id = %s",
                [user, chance.choice(self.ids)],
            ).rowcount
        conn.execute("SELECT advance_clock(%s)", [user])
        several = chance.sample(self.ids, self.typed)
        twelfth = self.typed / 12
        updated, deleted, inserted = (
            several[int(first * twelfth) : int(last * twelfth)]
            for first, last in ((0, 8), (5, 9), (7, 12))
        )
        return sum(
            conn.execute(statement, [user, ids]).rowcount
            for statement, ids in (
                (
                    "UPDATE tasks SET completed = NOT completed"
                    " WHERE user_id = %s AND id = ANY(%s::uuid[])",
                    updated,
                ),
                ("DELETE FROM tasks WHERE user_id = %s AND id = ANY(%s::uuid[])", deleted),
                (
                    "INSERT INTO tasks (user_id, id, title) SELECT %s, id, 'inserted'"
                    " FROM unnest(%s::uuid[]) AS id ON CONFLICT DO NOTHING",
                    inserted,
                ),
            )
        )


def check_race(make_service: MakeService, url: str, goal: int) -> dict[str, int]:
    """Run 8 writers and 3 readers, and compare what the readers have with what is there."""
    # While the clock is locked, all writers wait in the service, and readers need a place too.
    service = make_service(
        DATABASE_URL=url, **PATIENT | {"DB_POOL_USER_MAX": "32"}, WEB_THREADS="16"
    )
    with psycopg.connect(url, autocommit=True) as dba:
        # What is typed without the clock first can deadlock, and must not take all the time.
        name = sql.Identifier(dba.info.dbname)
        dba.execute(sql.SQL("ALTER DATABASE {} SET deadlock_timeout = '20ms'").format(name))
        service.start()
        with service.client() as client:
            user = Account.insert(client, dba)
            readers = Readers(*(Follower(user, limit=limit) for limit in (1, 37, 1000)))
            writers = Writers(service, user, url, readers, goal)
            steps = [writers.write_by_http] * 5 + [writers.write_by_sql] * 3
            with readers.running(), ThreadPoolExecutor(len(steps)) as threads:
                for done in [threads.submit(step, number) for number, step in enumerate(steps)]:
                    done.result()
            readers.assert_complete()
            assert len(readers.followers[0].tasks) > 100
    return writers.outcomes


def test_three_readers_miss_nothing_of_eight_writers(
    make_service: MakeService, own_url: str
) -> None:
    outcomes = check_race(make_service, own_url, 3_000)
    for outcome in ("committed", "rolled back", "POST 200", "PATCH 200", "DELETE 204", "PUT 201"):
        assert outcomes.get(outcome), outcomes


@pytest.mark.long
def test_three_readers_miss_nothing_of_100_000_changes(
    make_service: MakeService, own_url: str
) -> None:
    check_race(make_service, own_url, 100_000)


@pytest.mark.long
@pytest.mark.parametrize("time", UNLOCKED)
def test_without_the_lock_the_same_race_is_lost(
    make_service: MakeService, own_url: str, time: str
) -> None:
    with psycopg.connect(own_url, autocommit=True) as dba:
        dba.execute(UNLOCKED_CLOCK.format(time).encode())
    with pytest.raises(TimeoutError, match="copies to be equal to the list"):
        check_race(make_service, own_url, 3_000)
