"""The connection pool, and the only way in which a statement reaches PostgreSQL.

`current().as_user(user_id).read("list_tasks")`: the identity comes first, and no statement runs
without one.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from flask import current_app, g
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg_pool import ConnectionPool

from taskapi.config import Config
from taskapi.database.connection import (
    Connection,
    Statement,
    connection_settings,
    error_of,
    number_parameters,
)
from taskapi.database.places import Places
from taskapi.database.statements import STATEMENTS
from taskapi.exceptions import DatabaseUnavailable, TokenRevoked

logger = logging.getLogger("taskapi")

# After these errors the server refuses the connection's next statements too: a prepared plan whose
# result type has changed (0A000), a prepared statement that is gone (26000), a server that has
# become read-only, as a demoted primary does (25006).
POISONING_SQLSTATES = {"0A000", "26000", "25006"}

ACT_AS = number_parameters("act_as", STATEMENTS["act_as"])
# Around each statement, if the database is distributed over servers that act_as does not reach.
FIND_FRAME = number_parameters("find_frame", STATEMENTS["find_frame"])
BEGIN = number_parameters("begin", STATEMENTS["begin"])
SHARE_SETTINGS = number_parameters("share_settings", STATEMENTS["share_settings"])
COMMIT = number_parameters("commit", STATEMENTS["commit"])
QUERIES = {name: number_parameters(name, text) for name, text in STATEMENTS.items()}
# All that runs with the rights of the role that the service logs in with.
UNPRIVILEGED = {"list_applied_migrations": QUERIES["list_applied_migrations"]}

# Seconds until a write is repeated that another transaction stood in the way of, so that this one
# gets what it has waited for; twice as long each time, up to the second figure.
LOCKED_PAUSE = 0.02
LONGEST_LOCKED_PAUSE = 0.3

Call = tuple[Statement, Mapping[str, Any]]

# Seconds after DB_STATEMENT_TIMEOUT until a server that has not answered is given up.
SILENCE = 1.0


class ConnectionLost(DatabaseUnavailable):
    """The connection broke while a statement ran: it may or may not have taken effect."""


class RoleRefused(DatabaseUnavailable):
    """The role of a statement does not exist or is not granted: the statement didn't run."""


class Locked(DatabaseUnavailable):
    """Another transaction has what this one needs. Nothing was written.

    Either a statement with NOWAIT met a locked row, or the two waited for each other.
    """


class Violation(NamedTuple):
    """A constraint that a statement may violate, and the exception that says what that means."""

    error: type[psycopg.IntegrityError]
    constraint: str
    means: type[Exception]

    def is_in(self, error: psycopg.IntegrityError) -> bool:
        """Tell whether the error is this one. Citus does not pass on a constraint's name."""
        return type(error) is self.error and error.diag.constraint_name in (self.constraint, None)


class Usage(threading.local):
    """What the request that this thread serves has cost so far. Times are in seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start with the next request."""
        self.round_trips = 0
        # From sending a statement to its last row, and waiting for a free connection before that.
        self.seconds = 0.0
        self.waited = 0.0
        # Connections that were found broken.
        self.lost = 0


class PoolState(NamedTuple):
    """Open, used and allowed connections, and the requests that wait for one."""

    size: int
    used: int
    waiting: int
    max: int


class Database:
    """A pool of connections to one PostgreSQL database, closed at first.

    Open it in the process that uses it. Workers would share a pool that was opened before the
    fork, and read each other's results.
    """

    def __init__(self, config: Config) -> None:
        self.usage = Usage()
        self._lent: set[Connection] = set()
        self._places = Places(max(1, config.web_threads - 1), config.db_pool_user_max)
        self._timeout = config.db_pool_timeout
        # PostgreSQL ends a statement at its limit, unless the server is stopped or unreachable.
        self._silence = config.db_statement_timeout + SILENCE
        self.statement_timeout = config.db_statement_timeout
        self.max_tasks = str(config.max_tasks)
        # Whether statements need the frame of a distributed database: asked once.
        self._is_distributed: bool | None = None
        self._pool = ConnectionPool(
            config.database_url,
            connection_class=Connection,
            kwargs=connection_settings(config),
            open=False,
            min_size=config.db_pool_min,
            max_size=config.db_pool_max,
            timeout=config.db_pool_timeout,
            max_lifetime=config.db_pool_max_lifetime,
            # Seconds. After a failed connect the pool waits one second, then twice as long each
            # time. Less than a second here makes it give up after the second failure, and
            # reconnect_if_needed starts it again while requests wait: a server that is back is
            # noticed within about a second.
            reconnect_timeout=0.5,
            reconnect_failed=reconnect_if_needed,
            name="taskapi",
        )

    def open(self) -> None:
        """Start connecting, without waiting: /ready reports when the database answers."""
        self._pool.open()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def stats(self) -> dict[str, int]:
        """Return psycopg_pool's counters. Times are in milliseconds."""
        return self._pool.get_stats()

    def pool_state(self) -> PoolState:
        """Return the pool's state of this moment."""
        stats, used = self.stats(), len(self._lent)
        size = stats["pool_available"] + used
        return PoolState(size, used, stats["requests_waiting"], stats["pool_max"])

    def limit_statement(self, seconds: float) -> dict[str, str]:
        """Return `act_as`'s time limit: `seconds`, but at most DB_STATEMENT_TIMEOUT."""
        return {"statement_timeout": f"{round(min(seconds, self.statement_timeout) * 1000)}ms"}

    def as_user(self, user_id: str, issued_at: float | None = None) -> Actor:
        """Act as a user: row-level security shows this user's rows only.

        No token that was issued at this Unix time, by default the request's, may be revoked.
        """
        issued_at = g.issued_at if issued_at is None else issued_at
        return Actor(self, "taskapi_user", QUERIES, user_id=user_id, issued_at=issued_at)

    def as_login(self, email: str, closing: str | None = None) -> Actor:
        """Act for a sign-up or login: row-level security shows this email's account only.

        `closing` is the account's id if it is to be closed: it is also shown with its last email.
        """
        identity = {"user_id": closing, "issued_at": g.issued_at} if closing else {}
        return Actor(self, "taskapi_login", QUERIES, email=email, **identity)

    def as_purger(self) -> Actor:
        """Act for the purge: row-level security shows expired rows only."""
        return Actor(self, "taskapi_login", QUERIES)

    def as_nobody(self) -> Actor:
        """Act as the role that the service logs in with, which can run UNPRIVILEGED only."""
        return Actor(self, "none", UNPRIVILEGED)

    def run(
        self, statement: Statement, params: Mapping[str, Any], acting: Mapping[str, Any]
    ) -> list[Any]:
        """Run a statement with an identity and return its rows. Only Actor calls this.

        `sql/act_as.sql` and the statement are sent together: one round trip and one transaction,
        which the identity ends with. Raises DatabaseUnavailable, TooManyRequests, TokenRevoked and
        psycopg.Error.
        """
        name = statement.name.decode()
        with self._places.take(acting["user_id"]), self._connection() as conn:
            self.usage.round_trips += 1
            started = time.perf_counter()
            try:
                acted, result = self._exchange(conn, (ACT_AS, acting), (statement, params))
            except TimeoutError as silence:
                conn.close()
                self.usage.lost += 1
                raise DatabaseUnavailable(f"{name}: the server is silent") from silence
            # A server that ends a session for being idle or slow sends an InternalError.
            except (psycopg.OperationalError, psycopg.InternalError) as lost:
                conn.close()
                self.usage.lost += 1
                raise ConnectionLost(f"{name}: {describe(lost)}") from lost
            finally:
                self.usage.seconds += time.perf_counter() - started
            refusal = error_of(acted)
            if refusal is None and acting["user_id"] and not acted.get_value(0, 0):
                raise TokenRevoked
            error = refusal or error_of(result)
            if error is None:
                return conn.load_rows(result)
            if isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected):
                raise Locked(f"{name}: {describe(error)}") from error
            if error.sqlstate in POISONING_SQLSTATES:
                conn.close()
            if conn.closed or isinstance(error, psycopg.OperationalError):
                raise DatabaseUnavailable(f"{name}: {describe(error)}") from error
            if refusal:
                raise RoleRefused(
                    f"{name}: can't act as {acting['role']} ({describe(refusal)}): apply the "
                    "migrations, or grant it to the role that DATABASE_URL names"
                ) from refusal
            raise error

    def _exchange(self, conn: Connection, acting: Call, call: Call) -> tuple[PGresult, PGresult]:
        """Run `act_as` and a statement in one transaction. Return both results.

        If the database is distributed, the settings are shared before the statement.
        """
        if self._is_distributed is None:
            [found] = conn.exchange((FIND_FRAME, {}), timeout=self._silence)
            if error_of(found):
                return found, found
            self._is_distributed = found.get_value(0, 0) == b"t"
        if not self._is_distributed:
            acted, result = conn.exchange(acting, call, timeout=self._silence)
            return acted, result
        begun, acted, shared, result, committed = conn.exchange(
            (BEGIN, {}), acting, (SHARE_SETTINGS, {}), call, (COMMIT, {}), timeout=self._silence
        )
        if conn.info.transaction_status != TransactionStatus.IDLE:
            conn.exchange((COMMIT, {}), timeout=self._silence)
        failed = next(filter(error_of, (begun, acted, shared, result, committed)), None)
        return (failed if failed in (begun, shared) else acted), failed or result

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Lend a connection that was alive a moment ago.

        Raises DatabaseUnavailable if none is free within DB_POOL_TIMEOUT seconds.
        """
        conn = self._borrow()
        self._lent.add(conn)
        try:
            yield conn
        finally:
            self._lent.discard(conn)
            self._pool.putconn(conn)

    def _borrow(self) -> Connection:
        started = time.monotonic()
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
    """Runs statements with one role and identity, which row-level security checks each row by.

    The identity is a parameter of each statement too, so that the two can't differ.
    """

    def __init__(
        self, database: Database, role: str, statements: Mapping[str, Statement], **identity: Any
    ) -> None:
        self._database = database
        self._statements = statements
        self._identity = identity
        self._acting = {
            "role": role,
            "user_id": "",
            "issued_at": 0.0,
            "email": "",
            "max_tasks": database.max_tasks,
            **identity,
            **database.limit_statement(math.inf),
        }

    def within(self, seconds: float) -> Actor:
        """Limit statements to this time, if it is less than DB_STATEMENT_TIMEOUT."""
        self._acting |= self._database.limit_statement(seconds)
        return self

    def read(self, name: str, **params: Any) -> list[Any]:
        """Run the SELECT of this name and return its rows.

        If the connection breaks, the statement is repeated once on another one, which is safe for
        a read. Raises DatabaseUnavailable.
        """
        try:
            return self._run(name, params)
        except ConnectionLost:
            return self._run(name, params)

    def write(
        self,
        name: str,
        *violations: Violation,
        **params: Any,
    ) -> list[Any]:
        """Run the INSERT, UPDATE or DELETE of this name and return its RETURNING rows.

        Raises what each of `violations` means in place of its error.
        Repeated for up to DB_STATEMENT_TIMEOUT seconds while another transaction has what it needs,
        and for no other reason: if the connection breaks, the statement may have been committed.
        Raises DatabaseUnavailable.
        """
        give_up = time.monotonic() + self._database.statement_timeout
        pause = LOCKED_PAUSE
        try:
            while True:
                try:
                    return self._run(name, params)
                except Locked:
                    if time.monotonic() + pause > give_up:
                        raise
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_LOCKED_PAUSE)
        except psycopg.IntegrityError as error:
            for violation in violations:
                if violation.is_in(error):
                    raise violation.means from error
            raise

    def _run(self, name: str, params: Mapping[str, Any]) -> list[Any]:
        params = {**params, **self._identity}
        return self._database.run(self._statements[name], params, self._acting)


def reconnect_if_needed(pool: ConnectionPool[Any]) -> None:
    """Let a pool that has given up connecting try again, if requests wait for it."""
    if pool.get_stats()["requests_waiting"]:
        pool.check()


def describe(error: psycopg.Error) -> str:
    """Return a database error for the log, without the statement or its values."""
    return f"{type(error).__name__} {error.sqlstate or ''}".strip()


def current() -> Database:
    """Return the current application's database."""
    database: Database = current_app.extensions["taskapi.database"]
    return database
