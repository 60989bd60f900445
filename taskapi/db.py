"""The connection pool, and the one way in which a statement reaches PostgreSQL.

`current().as_user(user_id).read("list_tasks")`: whom a statement is for comes first, and there is
no running one without.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from flask import current_app
from psycopg_pool import ConnectionPool

from taskapi.config import Config
from taskapi.connection import (
    Connection,
    Statement,
    connection_settings,
    error_of,
    number_parameters,
)
from taskapi.exceptions import DatabaseUnavailable
from taskapi.sql_files import STATEMENTS

logger = logging.getLogger("taskapi")

# After these the server will refuse the connection's next statements too: a prepared plan whose
# result type has changed (0A000), a prepared statement that is gone (26000), a server that has
# become read-only, as a demoted primary does (25006).
SPOILT_CONNECTION = {"0A000", "26000", "25006"}

ACT_AS = number_parameters("act_as", STATEMENTS["act_as"])
QUERIES = {name: number_parameters(name, text) for name, text in STATEMENTS.items()}
# All that ever runs with the rights of the role that the service logs in with.
FOR_NOBODY = {"list_applied_migrations": QUERIES["list_applied_migrations"]}

# Seconds for which a worker's last thread waits for another one to be done with the database. More
# than a busy database ever takes for the first of several, and it is spent once in an outage.
STALL = 0.5


class ConnectionLost(DatabaseUnavailable):
    """The connection broke while a statement ran: whether it took effect isn't known."""


class RoleRefused(DatabaseUnavailable):
    """The role that a statement is for is missing or not granted: the statement didn't run."""


class Usage(threading.local):
    """What the request that this thread serves has cost so far; times are in seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with another request."""
        self.round_trips = 0
        # From sending a statement to its last row, and before that until a connection was free.
        self.seconds = 0.0
        self.waited = 0.0
        # Connections that were found broken.
        self.lost = 0


class PoolState(NamedTuple):
    """Connections that are open, in use, and may be open; requests that wait for one."""

    size: int
    used: int
    waiting: int
    max: int


class Database:
    """A pool of connections to one PostgreSQL database, made closed.

    Open it in the process that uses it: a pool that was opened before a fork is shared by the
    workers, and they read each other's answers.
    """

    def __init__(self, config: Config) -> None:
        self.usage = Usage()
        self._lent: set[Connection] = set()
        # One thread of the worker is never given to the database, so that a database that is stuck
        # or away doesn't keep those from an answer who don't need it, or who can't have it.
        self._places = threading.BoundedSemaphore(max(1, config.web_threads - 1))
        self._is_stuck = False
        self._timeout = config.db_pool_timeout
        self._settings = {"statement_timeout": f"{round(config.db_statement_timeout * 1000)}ms"}
        self._pool = ConnectionPool(
            config.database_url,
            connection_class=Connection,
            kwargs=connection_settings(config),
            open=False,
            min_size=config.db_pool_min,
            max_size=config.db_pool_max,
            timeout=config.db_pool_timeout,
            max_lifetime=config.db_pool_max_lifetime,
            # Seconds. After a failed connect the pool waits one second, and less than that here
            # lets it give up after the second failure, before its pauses double. It begins anew
            # while requests wait, so that a server that is back is noticed within about a second.
            reconnect_timeout=0.5,
            reconnect_failed=reconnect_if_needed,
            name="taskapi",
        )

    def open(self) -> None:
        """Start connecting, without waiting: /ready tells when the database answers."""
        self._pool.open()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def stats(self) -> dict[str, int]:
        """Return the pool's counters, in psycopg_pool's names; times are in milliseconds."""
        return self._pool.get_stats()

    def pool_state(self) -> PoolState:
        """Return how the pool is doing right now."""
        stats, used = self.stats(), len(self._lent)
        size = stats["pool_available"] + used
        return PoolState(size, used, stats["requests_waiting"], stats["pool_max"])

    def as_user(self, user_id: str) -> Actor:
        """Act for a user: nothing but this user's tasks is there."""
        return Actor(self, "taskapi_user", QUERIES, user_id=user_id)

    def as_login(self, email: str) -> Actor:
        """Act for who signs up or logs in: nothing but the account of this address is there."""
        return Actor(self, "taskapi_login", QUERIES, email=email)

    def as_purger(self) -> Actor:
        """Act for nobody: nothing but what has expired is there."""
        return Actor(self, "taskapi_login", QUERIES)

    def as_nobody(self) -> Actor:
        """Act for nobody, as the role that the service logs in with; only FOR_NOBODY can be run."""
        return Actor(self, "none", FOR_NOBODY)

    def run(
        self, statement: Statement, params: Mapping[str, Any], acting: Mapping[str, str]
    ) -> list[Any]:
        """Run a statement as somebody and return its rows; only an Actor has use for this.

        Both statements go out together: one round trip, and one transaction, which begins with the
        role and is over with it. Raises DatabaseUnavailable and psycopg.Error.
        """
        name = statement.name.decode()
        with self._connection() as conn:
            self.usage.round_trips += 1
            started = time.perf_counter()
            try:
                acted, result = conn.exchange(
                    (ACT_AS, {**acting, **self._settings}), (statement, params)
                )
            # The end of an idle or long transaction is an InternalError.
            except (psycopg.OperationalError, psycopg.InternalError) as end:
                conn.close()
                self.usage.lost += 1
                raise ConnectionLost(f"{name}: {describe(end)}") from end
            finally:
                self.usage.seconds += time.perf_counter() - started
            refusal = error_of(acted)
            error = refusal or error_of(result)
            if error is None:
                return conn.load_rows(result)
            if error.sqlstate in SPOILT_CONNECTION:
                conn.close()
            if conn.closed or isinstance(error, psycopg.OperationalError):
                raise DatabaseUnavailable(f"{name}: {describe(error)}") from error
            if refusal:
                raise RoleRefused(
                    f"{name}: can't act as {acting['role']} ({describe(refusal)}): apply the "
                    "migrations, or grant it to the role that DATABASE_URL names"
                ) from refusal
            raise error

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Lend a connection that was alive a moment ago.

        Raises DatabaseUnavailable when there is none within DB_POOL_TIMEOUT seconds, or at once
        when this is the worker's last thread and the others have got nowhere for a while.
        """
        started = time.monotonic()
        if not self._places.acquire(timeout=0 if self._is_stuck else min(STALL, self._timeout)):
            self._is_stuck = True
            raise DatabaseUnavailable("all threads but one wait for it")
        try:
            conn = self._borrow(started)
            self._lent.add(conn)
            try:
                yield conn
                self._is_stuck = False
            finally:
                self._lent.discard(conn)
                self._pool.putconn(conn)
        finally:
            self._places.release()

    def _borrow(self, started: float) -> Connection:
        try:
            while True:
                try:
                    conn = self._pool.getconn(started + self._timeout - time.monotonic())
                except psycopg.OperationalError as error:
                    raise DatabaseUnavailable(describe(error)) from error
                if not conn.is_stale():
                    return conn
                self.usage.lost += 1
                conn.close()
                self._pool.putconn(conn)
        finally:
            self.usage.waited += time.monotonic() - started


class Actor:
    """Runs statements with one role's rights, for whom the role's policies let through.

    The identity is a parameter of each statement too, so that it and the policy can't differ.
    """

    def __init__(
        self, database: Database, role: str, statements: Mapping[str, Statement], **identity: str
    ) -> None:
        self._database = database
        self._statements = statements
        self._identity = identity
        self._acting = {"role": role, "user_id": "", "email": "", **identity}

    def read(self, name: str, **params: Any) -> list[Any]:
        """Run the SELECT in `sql/{name}.sql` and return its rows.

        A connection that breaks meanwhile is replaced and the statement repeated, once: reading
        twice changes nothing. Raises DatabaseUnavailable.
        """
        try:
            return self._run(name, params)
        except ConnectionLost:
            return self._run(name, params)

    def write(self, name: str, **params: Any) -> list[Any]:
        """Run the INSERT, UPDATE or DELETE in `sql/{name}.sql` and return its RETURNING rows.

        Never repeated: a statement whose connection broke may have been committed. Raises
        DatabaseUnavailable, and psycopg.IntegrityError for the caller to know by its constraint.
        """
        return self._run(name, params)

    def _run(self, name: str, params: Mapping[str, Any]) -> list[Any]:
        params = {**params, **self._identity}
        return self._database.run(self._statements[name], params, self._acting)


def reconnect_if_needed(pool: ConnectionPool[Any]) -> None:
    """Let a pool that has given up connecting try again, if anybody waits for it."""
    if pool.get_stats()["requests_waiting"]:
        pool.check()


def describe(error: psycopg.Error) -> str:
    """Return what the log says of a database error: never the statement or its values."""
    return f"{type(error).__name__} {error.sqlstate or ''}".strip()


def current() -> Database:
    """Return the database of the application that serves this request."""
    database: Database = current_app.extensions["taskapi.database"]
    return database
