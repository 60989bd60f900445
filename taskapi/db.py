"""The connection pool, and the one way in which a statement reaches PostgreSQL.

`current().as_user(user_id).read("list_tasks")`: whom a statement is for comes first, and there is
no running one without.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from flask import current_app
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus
from psycopg.rows import DictRow, dict_row
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool

from taskapi.config import Config
from taskapi.exceptions import DatabaseUnavailable
from taskapi.sql_files import STATEMENTS

logger = logging.getLogger("taskapi")

# After these the server will refuse the connection's next statements too: a prepared plan whose
# result type has changed (0A000), a prepared statement that is gone (26000), a server that has
# become read-only, as a demoted primary does (25006).
SPOILT_CONNECTION = {"0A000", "26000", "25006"}

# All that ever runs with the rights of the role that the service logs in with.
FOR_NOBODY = {"list_applied_migrations": STATEMENTS["list_applied_migrations"]}


# Seconds for which a worker's last thread waits for another one to be done with the database. More
# than a busy database ever takes for the first of several, and it is spent once in an outage.
STALL = 0.5


class ConnectionLost(DatabaseUnavailable):
    """The connection broke while a statement ran: whether it took effect isn't known."""


class RoleRefused(DatabaseUnavailable):
    """The role that a statement is for is missing or not granted: the statement didn't run."""


class TimestampLoader(Loader):
    """Turns a timestamptz, as a session in UTC prints it, into RFC 3339 with microseconds.

    `2026-01-31 09:30:00.25+00` becomes `2026-01-31T09:30:00.250000Z`.
    """

    def load(self, data: Buffer) -> str:
        text = bytes(data).decode("ascii")
        return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<6}Z"


class Pipeline(psycopg.Pipeline):
    """psycopg's own, without the Flush that it sends after the Sync.

    PgBouncer in transaction mode takes a Flush that comes after the answer for the beginning of the
    next transaction, and keeps its server from all other clients until this one speaks again.
    """

    def _exit_gen(self) -> Generator[Any, Any, None]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            yield from self._fetch_gen(flush=False)


class Connection(psycopg.Connection[DictRow]):
    """A connection whose pipelines are ours."""

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        self._pipeline = Pipeline(self)
        with super().pipeline() as pipeline:
            yield pipeline


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
        return Actor(self, "taskapi_user", STATEMENTS, user_id=user_id)

    def as_login(self, email: str) -> Actor:
        """Act for who signs up or logs in: nothing but the account of this address is there."""
        return Actor(self, "taskapi_login", STATEMENTS, email=email)

    def as_purger(self) -> Actor:
        """Act for nobody: nothing but what has expired is there."""
        return Actor(self, "taskapi_login", STATEMENTS)

    def as_nobody(self) -> Actor:
        """Act for nobody, as the role that the service logs in with; only FOR_NOBODY can be run."""
        return Actor(self, "none", FOR_NOBODY)

    def run(
        self, name: str, statement: bytes, params: Mapping[str, Any], acting: Mapping[str, str]
    ) -> list[Any]:
        """Run a statement as somebody and return its rows; only an Actor has use for this.

        Both statements go out in one pipeline: one round trip, and one transaction, which begins
        with the role and is over with it. Raises DatabaseUnavailable and psycopg.Error.
        """
        with self._connection() as conn:
            role, result = conn.cursor(), conn.cursor()
            self.usage.round_trips += 1
            started = time.perf_counter()
            try:
                with conn.pipeline():
                    role.execute(STATEMENTS["act_as"], {**acting, **self._settings})
                    result.execute(statement, params)
                return result.fetchall()
            except psycopg.Error as caught:
                error = first_error(caught)
                # A fatal error may be read before the end of the connection that follows it.
                lost = conn.broken or error.diag.severity_nonlocalized in ("FATAL", "PANIC")
                stuck = conn.info.pipeline_status != PipelineStatus.OFF
                if lost or stuck or error.sqlstate in SPOILT_CONNECTION:
                    conn.close()
                if lost:
                    self.usage.lost += 1
                    raise ConnectionLost(f"{name}: {describe(error)}") from error
                if conn.closed or isinstance(error, psycopg.OperationalError):
                    raise DatabaseUnavailable(f"{name}: {describe(error)}") from error
                if role.rowcount != 1:
                    raise RoleRefused(
                        f"{name}: can't act as {acting['role']} ({describe(error)}): apply the "
                        "migrations, or grant it to the role that DATABASE_URL names"
                    ) from error
                raise error from None
            finally:
                self.usage.seconds += time.perf_counter() - started

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Lend a connection that was alive a moment ago.

        Raises DatabaseUnavailable when there is none within DB_POOL_TIMEOUT seconds, or at once
        when this is the worker's last thread and the others have got nowhere for a while.
        """
        started = time.monotonic()
        with self._place(), self._lend(started) as conn:
            yield conn
            self._is_stuck = False

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=0 if self._is_stuck else min(STALL, self._timeout)):
            self._is_stuck = True
            raise DatabaseUnavailable("all threads but one wait for it")
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def _lend(self, started: float) -> Iterator[Connection]:
        try:
            while True:
                try:
                    conn = self._pool.getconn(started + self._timeout - time.monotonic())
                except psycopg.OperationalError as error:
                    raise DatabaseUnavailable(describe(error)) from error
                if not is_stale(conn):
                    break
                self.usage.lost += 1
                conn.close()
                self._pool.putconn(conn)
        finally:
            self.usage.waited += time.monotonic() - started
        self._lent.add(conn)
        try:
            yield conn
        finally:
            self._lent.discard(conn)
            self._pool.putconn(conn)


class Actor:
    """Runs statements with one role's rights, for whom the role's policies let through.

    The identity is a parameter of each statement too, so that it and the policy can't differ.
    """

    def __init__(
        self, database: Database, role: str, statements: Mapping[str, bytes], **identity: str
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
        return self._database.run(name, self._statements[name], params, self._acting)


def is_stale(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether the server has closed an idle connection, or has spoken unasked on it.

    Nothing is due on an idle connection, so that a socket with something to read means a
    connection that is dead or about to be. It costs one system call and no round trip.
    """
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def reconnect_if_needed(pool: ConnectionPool[Any]) -> None:
    """Let a pool that has given up connecting try again, if anybody waits for it."""
    if pool.get_stats()["requests_waiting"]:
        pool.check()


def first_error(error: psycopg.Error) -> psycopg.Error:
    """Return the error that the others of its pipeline came after, such as PipelineAborted."""
    while isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    return error


def describe(error: psycopg.Error) -> str:
    """Return what the log says of a database error: never the statement or its values."""
    return f"{type(error).__name__} {error.sqlstate or ''}".strip()


def connection_settings(config: Config) -> dict[str, Any]:
    """Return what each connection is opened with, beside what DATABASE_URL says itself.

    What a statement counts on is set by `sql/act_as.sql`: PgBouncer forgets a session's settings.
    """
    given = conninfo_to_dict(config.database_url)
    return {
        # Each request is its own transaction: no BEGIN, no COMMIT.
        "autocommit": True,
        "row_factory": dict_row,
        "context": _adapters(),
        # A statement is prepared when a connection runs it for the sixth time.
        "prepare_threshold": 5 if config.db_prepare else None,
        "application_name": given.get("application_name", "taskapi"),
        "connect_timeout": given.get("connect_timeout", 2),
    }


def current() -> Database:
    """Return the database of the application that serves this request."""
    database: Database = current_app.extensions["taskapi.database"]
    return database


def _adapters() -> AdaptersMap:
    """Load UUIDs and timestamps as the text that JSON shows: no object in between."""
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_loader("uuid", TextLoader)
    adapters.register_loader("timestamptz", TimestampLoader)
    return adapters
