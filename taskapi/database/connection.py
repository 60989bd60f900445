"""A connection to PostgreSQL that sends several statements in one round trip."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from typing import Any, NamedTuple

import orjson
import psycopg
from psycopg import abc
from psycopg.adapt import AdaptersMap, Dumper, Loader, PyFormat, Transformer
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.types.string import TextLoader

from taskapi.config import Config

PARAMETER = re.compile(rb"%\((\w+)\)s")


class Statement(NamedTuple):
    """A statement as the server gets it. `parameters` are the names of $1, $2 and so on."""

    name: bytes
    text: bytes
    parameters: tuple[str, ...]


def number_parameters(name: str, text: bytes) -> Statement:
    """Return the statement of a file in `sql/`, whose parameters are named: `%(user_id)s`."""
    names = list(dict.fromkeys(PARAMETER.findall(text)))
    numbered = PARAMETER.sub(lambda found: b"$%d" % (names.index(found[1]) + 1), text)
    return Statement(name.encode(), numbered, tuple(found.decode() for found in names))


class TimestampLoader(Loader):
    """Converts the text of a timestamptz in a UTC session to RFC 3339 with microseconds.

    `2026-01-31 09:30:00.25+00` becomes `2026-01-31T09:30:00.250000Z`.
    """

    def load(self, data: abc.Buffer) -> str:
        text = str(data, "ascii")
        if len(text) == 29:  # nine of ten have all six digits, and need no padding
            return f"{text[:10]}T{text[11:26]}Z"
        return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<6}Z"


class JsonDumper(Dumper):
    """Sends a dictionary as the text of a JSON object."""

    def dump(self, obj: dict[str, Any]) -> bytes:
        return orjson.dumps(obj)


class Connection(psycopg.Connection[Any]):
    """A connection that uses libpq's pipeline mode through psycopg.pq.

    psycopg's own pipeline and cursors take 104 µs of processor time for two statements, this class
    49 (make bench-hot-path). They also send a Flush after the Sync. PgBouncer in transaction mode
    takes that for the start of the next transaction, and keeps the server connection for it.
    """

    def exchange(
        self, *calls: tuple[Statement, Mapping[str, Any]], timeout: float
    ) -> list[PGresult]:
        """Run different statements in one round trip and one transaction. Return their results.

        After a statement that fails, the status of the others is PIPELINE_ABORTED. Raises
        psycopg.OperationalError or InternalError if the connection breaks, and TimeoutError if the
        server has not answered after `timeout` seconds: the transaction may or may not have been
        committed, and the connection must be closed.
        """
        values = [self._dump(statement, params) for statement, params in calls]
        self._deadline = time.monotonic() + timeout
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
        """Return a result's rows as dictionaries by column name."""
        names = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(
            0, result.ntuples, lambda row: dict(zip(names, row, strict=True))
        )
        # Otherwise an idle connection would keep the result, which can have megabytes.
        self._transformer.set_pgresult(None)
        return rows

    def is_stale(self) -> bool:
        """Tell whether the server has closed the idle connection or sent something on it.

        The server sends nothing on a healthy idle connection, so a readable socket means that it
        is closed or about to be. This takes one system call and no round trip.
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
        """The names of the statements that are prepared on this connection."""
        return {}

    @cached_property
    def _numbers(self) -> Iterator[int]:
        return count()

    def _dump(self, statement: Statement, params: Mapping[str, Any]) -> Sequence[abc.Buffer | None]:
        # Text is valid for whatever type the server infers for the parameter.
        return self._transformer.dump_sequence(
            [params[name] for name in statement.parameters],
            [PyFormat.TEXT] * len(statement.parameters),
        )

    def _send(self, statement: Statement, values: Sequence[abc.Buffer | None]) -> bytes | None:
        """Send a statement. Return the name that it is being prepared under, if it is."""
        if self.prepare_threshold is None:
            self.pgconn.send_query_params(statement.text, values)
            return None
        if name := self._names.get(statement):
            self.pgconn.send_query_prepared(name, values)
            return None
        # PgBouncer accepts each name once, also if the statement of that name has failed.
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
            # A server that can't send its results stops reading: both would wait forever.
            self._socket.modify(self.pgconn.socket, select.POLLIN | select.POLLOUT)
            self._wait()
            self._socket.modify(self.pgconn.socket, select.POLLIN)
            self.pgconn.consume_input()

    def _wait(self) -> None:
        """Wait for the socket, until the deadline of the exchange."""
        left = self._deadline - time.monotonic()
        if left <= 0 or not self._socket.poll(left * 1000):
            raise TimeoutError

    def _next_result(self) -> PGresult:
        while self.pgconn.is_busy():
            self._wait()
            self.pgconn.consume_input()
        result = self.pgconn.get_result()
        if result is None:
            raise psycopg.OperationalError("the connection has no more results")
        if result.status != ExecStatus.PIPELINE_SYNC:
            self.pgconn.get_result()  # None follows each result except the Sync's
        error = error_of(result)
        if error and error.diag.severity_nonlocalized in ("FATAL", "PANIC"):
            # The server closes the connection after these.
            raise error
        return result


def error_of(result: PGresult) -> psycopg.Error | None:
    """Return the error of a statement that failed, else None."""
    return error_from_result(result) if result.status == ExecStatus.FATAL_ERROR else None


# The limits after which a connection to a silent host is closed: libpq and Linux wait for hours.
NETWORK_LIMITS = {
    # Seconds for each host.
    "connect_timeout": 2,
    # Milliseconds until the host must have acknowledged what was sent.
    "tcp_user_timeout": 10_000,
    # Seconds: idle connections are probed after 30, then every 5, three times at most.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


def connection_settings(config: Config) -> dict[str, Any]:
    """Return the parameters of each connection, for which DATABASE_URL has no value.

    Settings that statements rely on are in `sql/act_as.sql`: PgBouncer loses a session's settings.
    """
    given = conninfo_to_dict(config.database_url)
    return {
        # Each round trip is a transaction of its own, without BEGIN and COMMIT.
        "autocommit": True,
        "context": _adapters(),
        # 0: prepared when a connection first runs it. None: never prepared.
        "prepare_threshold": 0 if config.db_prepare else None,
        "application_name": given.get("application_name", "taskapi"),
        **{name: given.get(name, value) for name, value in NETWORK_LIMITS.items()},
    }


def _adapters() -> AdaptersMap:
    """Load UUIDs, dates and times as the text that JSON shows; send dictionaries as jsonb."""
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(dict, JsonDumper)
    adapters.register_loader("uuid", TextLoader)
    adapters.register_loader("date", TextLoader)
    adapters.register_loader("timestamptz", TimestampLoader)
    return adapters
