"""The connection pool, and the one way in which a statement reaches PostgreSQL."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from flask import current_app
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.conninfo import conninfo_to_dict
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


class ConnectionLost(DatabaseUnavailable):
    """The connection broke while a statement ran: whether it took effect isn't known."""


class TimestampLoader(Loader):
    """Turns a timestamptz, as a session in UTC prints it, into RFC 3339 with microseconds.

    `2026-01-31 09:30:00.25+00` becomes `2026-01-31T09:30:00.250000Z`.
    """

    def load(self, data: Buffer) -> str:
        text = bytes(data).decode("ascii")
        return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<6}Z"


class Database:
    """A pool of connections to one PostgreSQL database, made closed.

    Open it in the process that uses it: a pool that was opened before a fork is shared by the
    workers, and they read each other's answers.
    """

    def __init__(self, config: Config) -> None:
        self._timeout = config.db_pool_timeout
        self._pool = ConnectionPool(
            config.database_url,
            connection_class=psycopg.Connection[DictRow],
            kwargs=connection_settings(config),
            open=False,
            min_size=config.db_pool_min,
            max_size=config.db_pool_max,
            timeout=config.db_pool_timeout,
            max_lifetime=config.db_pool_max_lifetime,
            # The back-off of a failed connect doubles up to this, so that a server that comes
            # back after a long outage is noticed within about a second.
            reconnect_timeout=1,
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
        with self._connection() as conn:
            try:
                return conn.execute(STATEMENTS[name], params).fetchall()
            except psycopg.Error as error:
                # A fatal error may be read before the end of the connection that follows it.
                lost = conn.broken or error.diag.severity_nonlocalized in ("FATAL", "PANIC")
                if lost or error.sqlstate in SPOILT_CONNECTION:
                    conn.close()
                if lost:
                    raise ConnectionLost(f"{name}: {describe(error)}") from error
                if conn.closed or isinstance(error, psycopg.OperationalError):
                    raise DatabaseUnavailable(f"{name}: {describe(error)}") from error
                raise

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[DictRow]]:
        """Lend a connection that was alive a moment ago.

        Raises DatabaseUnavailable when there is none within DB_POOL_TIMEOUT seconds.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                conn = self._pool.getconn(deadline - time.monotonic())
            except psycopg.OperationalError as error:
                raise DatabaseUnavailable(describe(error)) from error
            if not is_stale(conn):
                break
            conn.close()
            self._pool.putconn(conn)
        try:
            yield conn
        finally:
            self._pool.putconn(conn)


def is_stale(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether the server has closed an idle connection, or has spoken unasked on it.

    Nothing is due on an idle connection, so that a socket with something to read means a
    connection that is dead or about to be. It costs one system call and no round trip.
    """
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def describe(error: psycopg.Error) -> str:
    """Return what the log says of a database error: never the statement or its values."""
    return f"{type(error).__name__} {error.sqlstate or ''}".strip()


def connection_settings(config: Config) -> dict[str, Any]:
    """Return what each connection is opened with, beside what DATABASE_URL says itself."""
    given = conninfo_to_dict(config.database_url)
    milliseconds = round(config.db_statement_timeout * 1000)
    ours = f"-c statement_timeout={milliseconds} -c TimeZone=UTC -c DateStyle=ISO"
    return {
        # One statement a request, each its own transaction: no BEGIN, no COMMIT.
        "autocommit": True,
        "row_factory": dict_row,
        "context": _adapters(),
        "application_name": given.get("application_name", "taskapi"),
        "connect_timeout": given.get("connect_timeout", 2),
        "options": f"{given.get('options', '')} {ours}".strip(),
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
