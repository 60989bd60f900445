"""A user's clock, which all writers of the user's tasks lock: who waits, and who can't deadlock."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import errors, sql

from tests.support.accounts import Account
from tests.support.feeds import Follower, read_list
from tests.support.fixtures import MakeService
from tests.support.service import PATIENT, wait_until

Connection = psycopg.Connection[Any]
Task = dict[str, Any]

TRIES = 150
# A user's requests that write a task, and the tasks that there are.
REQUESTS: dict[str, Callable[[Account, str], httpx.Response]] = {
    "PATCH": lambda user, id: user.request("PATCH", f"/{id}", json={"title": "by HTTP"}),
    "DELETE": lambda user, id: user.request("DELETE", f"/{id}"),
    "batch": lambda user, id: user.request(
        "POST",
        "/batch",
        json={
            "operations": [
                {"op": "create", "title": "new"},
                {"op": "update", "id": id, "title": "by HTTP"},
            ],
            "atomic": True,
        },
    ),
}


def set_deadlock_timeout(dba: Connection, seconds: float) -> None:
    """Set it for all sessions that begin from now on: who waits so long looks for a deadlock."""
    name = sql.Identifier(dba.info.dbname)
    value = sql.Literal(f"{seconds * 1000:.0f}ms")
    dba.execute(sql.SQL("ALTER DATABASE {} SET deadlock_timeout = {}").format(name, value))


def count_waiting(dba: Connection, application: str) -> int:
    row = dba.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = %s AND wait_event_type = 'Lock'",
        [application],
    ).fetchone()
    assert row is not None
    return int(row[0])


def count_deadlocks(dba: Connection) -> int:
    row = dba.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_request_never_deadlocks_with_what_a_dba_types(
    make_service: MakeService, own_url: str, request_name: str
) -> None:
    """An UPDATE locks its task, then the clock; a request the clock, then the task.

    The request gets the clock first and gives it back, because the task is locked.
    """
    with psycopg.connect(own_url, autocommit=True) as dba:
        service = make_service(DATABASE_URL=own_url, **PATIENT)
        service.start()
        with (
            service.client() as client,
            psycopg.connect(own_url) as holder,
            psycopg.connect(own_url, autocommit=True, application_name="dba") as typed,
            ThreadPoolExecutor(2) as threads,
        ):
            user = Account.insert(client, dba)
            task = user.create("before")
            follower = Follower(user)
            holder.execute("SELECT advance_clock(%s)", [user.id])
            sent = threads.submit(REQUESTS[request_name], user, task["id"])
            wait_until("the request to wait", lambda: count_waiting(dba, "taskapi") == 1)
            update = "UPDATE tasks SET description = 'typed' WHERE id = %s"
            done = threads.submit(typed.execute, update, [task["id"]])
            wait_until("the DBA to wait", lambda: count_waiting(dba, "dba") == 1)
            holder.rollback()
            response = sent.result()
            assert response.status_code == (204 if request_name == "DELETE" else 200)
            assert done.result().rowcount == 1
            follower.catch_up()
            assert follower.tasks == read_list(user)
            if request_name != "DELETE":
                changed = follower.tasks[task["id"]]
                assert (changed["title"], changed["description"]) == ("by HTTP", "typed")
        service.stop()
        assert count_deadlocks(dba) == 0


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_task_that_a_dba_has_locked_keeps_no_other_request_waiting(
    make_service: MakeService, own_url: str, request_name: str
) -> None:
    service = make_service(DATABASE_URL=own_url, **PATIENT)
    service.start()
    with (
        service.client() as client,
        psycopg.connect(own_url) as dba,
        ThreadPoolExecutor(1) as threads,
    ):
        user = Account.insert(client, own_url)
        locked, free = user.create()["id"], user.create()["id"]
        dba.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", [locked])
        sent = threads.submit(REQUESTS[request_name], user, locked)
        for _ in range(10):
            assert REQUESTS["PATCH"](user, free).status_code == 200
        assert not sent.done()
        dba.rollback()
        assert sent.result().status_code == (204 if request_name == "DELETE" else 200)


@pytest.mark.parametrize("locks_first", [True, False])
def test_who_locks_the_clock_first_never_deadlocks(
    make_service: MakeService, own_url: str, locks_first: bool
) -> None:
    """Two sessions change tasks in random order while requests do; without the lock they meet."""
    with psycopg.connect(own_url, autocommit=True) as dba:
        set_deadlock_timeout(dba, 0.02)
        service = make_service(DATABASE_URL=own_url, **PATIENT)
        service.start()
        with service.client() as client:
            user = Account.insert(client, dba)
            tasks = [user.create(f"task {number}")["id"] for number in range(6)]
            follower = Follower(user)

            def type_one(number: int) -> None:
                chance = random.Random(number)
                with psycopg.connect(own_url) as conn:
                    if locks_first:
                        conn.execute("SELECT advance_clock(%s)", [user.id])
                    for id in chance.sample(tasks, 3):
                        conn.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", [id])
                        conn.execute("UPDATE tasks SET description = 'd' WHERE id = %s", [id])

            def send_one(number: int) -> int:
                chance = random.Random(number)
                ids = chance.sample(tasks, 3)
                operations = [{"op": "update", "id": id, "completed": True} for id in ids]
                if chance.random() < 0.5:
                    return REQUESTS["PATCH"](user, ids[0]).status_code
                body = {"operations": operations, "atomic": True}
                return user.request("POST", "/batch", json=body).status_code

            failed = 0
            with ThreadPoolExecutor(2) as dbas, ThreadPoolExecutor(3) as clients:
                sent = [clients.submit(send_one, number) for number in range(TRIES)]
                for typed in [dbas.submit(type_one, number) for number in range(TRIES)]:
                    failed += isinstance(typed.exception(), errors.DeadlockDetected)
                statuses = {future.result() for future in sent}
            follower.catch_up()
            assert follower.tasks == read_list(user)
        service.stop()
        if locks_first:
            assert statuses <= {200, 429}
            assert failed == 0
            assert count_deadlocks(dba) == 0
        else:
            assert statuses <= {200, 429, 503}
            wait_until("deadlocks to be counted", lambda: count_deadlocks(dba) > 0)


def test_a_token_of_a_deleted_user_makes_no_clock(user: Account, database: Connection) -> None:
    id = user.create()["id"]
    database.execute("DELETE FROM users WHERE id = %s", [user.id])
    assert user.request("DELETE", f"/{id}").status_code == 401
    count = database.execute("SELECT count(*) FROM clocks WHERE user_id = %s", [user.id])
    assert count.fetchone() == (0,)


@pytest.mark.parametrize("locks_first", [True, False])
def test_a_user_who_is_deleted_while_writing(
    user: Account, database: Connection, database_url: str, locks_first: bool
) -> None:
    """DELETE locks the user, then the clock; a new task the clock, then the user."""
    user.create()
    with (
        psycopg.connect(database_url) as writer,
        psycopg.connect(database_url) as deleter,
        ThreadPoolExecutor(1) as threads,
    ):
        writer.execute("SELECT advance_clock(%s)", [user.id])

        def delete() -> None:
            if locks_first:
                deleter.execute("SELECT advance_clock(%s)", [user.id])
            deleter.execute("DELETE FROM users WHERE id = %s", [user.id])
            deleter.commit()

        deleted = threads.submit(delete)
        blocking = "SELECT %s = ANY(pg_blocking_pids(%s))"
        pids = [writer.info.backend_pid, deleter.info.backend_pid]
        wait_until(
            "the deletion to wait", lambda: database.execute(blocking, pids).fetchone() == (True,)
        )
        insert = "INSERT INTO tasks (user_id, title) VALUES (%s, 'new')"
        failures: list[BaseException | None] = []
        try:
            writer.execute(insert, [user.id])
            writer.commit()
        except errors.DeadlockDetected as error:
            writer.rollback()
            failures.append(error)
        failures.append(deleted.exception())
        deadlocks = [one for one in failures if isinstance(one, errors.DeadlockDetected)]
        assert len(deadlocks) == (0 if locks_first else 1)
