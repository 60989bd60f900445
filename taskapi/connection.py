"""Connections to PostgreSQL: how statements go over one of them and their rows come back."""

from __future__ import annotations

import re
import select
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from typing import Any, NamedTuple

import psycopg
from psycopg import abc
from psycopg.adapt import AdaptersMap, Loader, PyFormat, Transformer
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.types.string import TextLoader

from taskapi.config import Config

PARAMETER = re.compile(rb"%\((\w+)\)s")


class Statement(NamedTuple):
    """A statement as the server gets it, its parameters numbered: $1 is the first of the names."""

    name: bytes
    text: bytes
    parameters: tuple[str, ...]


def number_parameters(name: str, text: bytes) -> Statement:
    """Return the statement of a file in `sql/`, where parameters are named: `%(user_id)s`."""
    names = list(dict.fromkeys(PARAMETER.findall(text)))
    numbered = PARAMETER.sub(lambda found: b"$%d" % (names.index(found[1]) + 1), text)
    return Statement(name.encode(), numbered, tuple(found.decode() for found in names))


class TimestampLoader(Loader):
    """Turns a timestamptz, as a session in UTC prints it, into RFC 3339 with microseconds.

    `2026-01-31 09:30:00.25+00` becomes `2026-01-31T09:30:00.250000Z`.
    """

    def load(self, data: abc.Buffer) -> str:
        text = str(data, "ascii")
        if len(text) == 29:  # nine of ten have all six digits: a third less time for these
            return f"{text[:10]}T{text[11:26]}Z"
        return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<6}Z"


class Connection(psycopg.Connection[Any]):
    """A connection that drives libpq's pipeline mode itself, by what psycopg.pq has for that.

    psycopg's own pipeline and cursors take 104 µs of processor time for two statements, and this 49
    (make bench-hot-path). They also send a Flush after the Sync, which PgBouncer in transaction
    mode takes for the beginning of the next transaction: it keeps its server from all other clients
    then.
    """

    def exchange(self, *calls: tuple[Statement, Mapping[str, Any]]) -> list[PGresult]:
        """Run statements, all different, in one round trip and one transaction; a result for each.

        After one that has failed the others' status is PIPELINE_ABORTED. Raises
        psycopg.OperationalError or InternalError if the connection breaks: what took effect isn't
        known then.
        """
        values = [self._dump(statement, params) for statement, params in calls]
        self.pgconn.enter_pipeline_mode()
        new_names = [
            self._send(statement, given)
            for (statement, _), given in zip(calls, values, strict=True)
        ]
        self.pgconn.pipeline_sync()
        self._flush()
        results = [
            self._receive(statement, new_name)
            for (statement, _), new_name in zip(calls, new_names, strict=True)
        ]
        if error := error_of(self._next_result()):  # the Sync's, which commits
            raise error
        self.pgconn.exit_pipeline_mode()
        return results

    def load_rows(self, result: PGresult) -> list[dict[str, Any]]:
        """Return the rows of a result, by the names of the columns."""
        names = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(
            0, result.ntuples, lambda row: dict(zip(names, row, strict=True))
        )
        # An idle connection would keep megabytes of it.
        self._transformer.set_pgresult(None)
        return rows

    def is_stale(self) -> bool:
        """Tell whether the server has closed an idle connection, or has spoken unasked on it.

        Nothing is due on an idle connection, so that a socket with something to read means a
        connection that is dead or about to be. It costs one system call and no round trip.
        """
        return bool(self._socket.poll(0))

    @cached_property
    def _socket(self) -> select.poll:
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        return poll

    @cached_property
    def _transformer(self) -> abc.Transformer:
        return Transformer(self)

    @cached_property
    def _names(self) -> dict[Statement, bytes]:
        """Of the statements that the server has prepared on this connection."""
        return {}

    @cached_property
    def _numbers(self) -> Iterator[int]:
        return count()

    def _dump(self, statement: Statement, params: Mapping[str, Any]) -> Sequence[abc.Buffer | None]:
        # As text, so that each value is right for whatever type the server finds for its parameter.
        return self._transformer.dump_sequence(
            [params[name] for name in statement.parameters],
            [PyFormat.TEXT] * len(statement.parameters),
        )

    def _send(self, statement: Statement, values: Sequence[abc.Buffer | None]) -> bytes | None:
        """Send a statement; return the name under which it is being prepared, if it is."""
        if self.prepare_threshold is None:
            self.pgconn.send_query_params(statement.text, values)
            return None
        if name := self._names.get(statement):
            self.pgconn.send_query_prepared(name, values)
            return None
        # PgBouncer takes no name twice, not even if it was for a statement that has failed.
        name = b"%b_%d" % (statement.name, next(self._numbers))
        self.pgconn.send_prepare(name, statement.text)
        self.pgconn.send_query_prepared(name, values)
        return name

    def _receive(self, statement: Statement, new_name: bytes | None) -> PGresult:
        if new_name is None:
            return self._next_result()
        preparation, result = self._next_result(), self._next_result()
        if preparation.status != ExecStatus.COMMAND_OK:
            return preparation
        self._names[statement] = new_name
        return result

    def _flush(self) -> None:
        while self.pgconn.flush():
            # Who doesn't read what the server says meanwhile may wait for it for ever.
            self._socket.modify(self.pgconn.socket, select.POLLIN | select.POLLOUT)
            self._socket.poll()
            self._socket.modify(self.pgconn.socket, select.POLLIN)
            self.pgconn.consume_input()

    def _next_result(self) -> PGresult:
        while self.pgconn.is_busy():
            self._socket.poll()
            self.pgconn.consume_input()
        result = self.pgconn.get_result()
        if result is None:
            raise psycopg.OperationalError("the connection has no more results")
        if result.status != ExecStatus.PIPELINE_SYNC:
            self.pgconn.get_result()  # None comes after each result but the Sync's
        error = error_of(result)
        if error and error.diag.severity_nonlocalized in ("FATAL", "PANIC"):
            # The end of the connection follows, or has come already.
            raise error
        return result


def error_of(result: PGresult) -> psycopg.Error | None:
    """Return the error that a statement has ended with, if any."""
    return error_from_result(result) if result.status == ExecStatus.FATAL_ERROR else None


def connection_settings(config: Config) -> dict[str, Any]:
    """Return what each connection is opened with, beside what DATABASE_URL says itself.

    What a statement counts on is set by `sql/act_as.sql`: PgBouncer forgets a session's settings.
    """
    given = conninfo_to_dict(config.database_url)
    return {
        # Each request is its own transaction: no BEGIN, no COMMIT.
        "autocommit": True,
        "context": _adapters(),
        # A statement is prepared when a connection runs it for the first time, or never.
        "prepare_threshold": 0 if config.db_prepare else None,
        "application_name": given.get("application_name", "taskapi"),
        "connect_timeout": given.get("connect_timeout", 2),
    }


def _adapters() -> AdaptersMap:
    """Load UUIDs and timestamps as the text that JSON shows: no object in between."""
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_loader("uuid", TextLoader)
    adapters.register_loader("timestamptz", TimestampLoader)
    return adapters
