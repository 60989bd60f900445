"""How statements go over a connection."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import errors
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus

from taskapi.config import load_config
from taskapi.database.connection import (
    Connection,
    Statement,
    connection_settings,
    error_of,
    number_parameters,
)
from tests.support.fixtures import MakePostgres
from tests.support.service import PATIENCE, SECRET, free_port

ECHO = number_parameters("echo", b"SELECT %(text)s::text AS text, length(%(text)s) AS length")
DIVIDE = number_parameters("divide", b"SELECT 1 / %(number)s::integer AS quotient")


@pytest.fixture(params=["true", "false"], ids=["prepared", "unprepared"])
def conn(request: pytest.FixtureRequest, server_url: str) -> Iterator[Connection]:
    variables = {"DATABASE_URL": server_url, "JWT_SECRET": SECRET, "DB_PREPARE": request.param}
    config = load_config(variables)
    with closing(Connection.connect(server_url, **connection_settings(config))) as conn:
        yield conn


def run(conn: Connection, statement: Statement, **params: object) -> list[dict[str, object]]:
    [result] = conn.exchange((statement, params), timeout=PATIENCE)
    assert error_of(result) is None
    return conn.load_rows(result)


def test_parameters_are_numbered_by_their_first_place() -> None:
    text = b"SELECT %(b)s, %(a)s, %(b)s, '%', a % b"
    assert number_parameters("x", text) == Statement(
        b"x", b"SELECT $1, $2, $1, '%', a % b", ("b", "a")
    )


@pytest.mark.parametrize("fraction", ["", ".1", ".012", ".00001", ".123456", ".120000"])
def test_times_have_microseconds(conn: Connection, fraction: str) -> None:
    when = number_parameters("when", b"SELECT %(text)s::timestamptz AS at")
    conn.execute("SET timezone TO 'UTC'")
    [row] = run(conn, when, text=f"2026-01-31 09:30:00{fraction}+00")
    assert row == {"at": f"2026-01-31T09:30:00.{fraction[1:]:0<6}Z"}


def test_more_than_the_network_takes_at_once(conn: Connection) -> None:
    """Both ways at the same time: neither side stops listening while it speaks."""
    text = "ä" * 5_000_000
    first, second = conn.exchange((ECHO, {"text": text}), (DIVIDE, {"number": 1}), timeout=PATIENCE)
    assert conn.load_rows(first) == [{"text": text, "length": len(text)}]
    assert conn.load_rows(second) == [{"quotient": 1}]


def test_what_comes_after_a_failure_is_not_done(conn: Connection) -> None:
    for number in (0, 0):
        failed, aborted = conn.exchange(
            (DIVIDE, {"number": number}), (ECHO, {"text": "x"}), timeout=PATIENCE
        )
        assert isinstance(error_of(failed), errors.DivisionByZero)
        assert aborted.status == ExecStatus.PIPELINE_ABORTED
        assert conn.pgconn.pipeline_status == PipelineStatus.OFF
        assert conn.pgconn.transaction_status == TransactionStatus.IDLE
    assert run(conn, DIVIDE, number=2) == [{"quotient": 0}]
    assert run(conn, ECHO, text="x") == [{"text": "x", "length": 1}]


def test_a_statement_that_the_server_does_not_understand(conn: Connection) -> None:
    wrong = number_parameters("wrong", b"SELECT * FROM no_such_table")
    for _ in range(2):
        _, failed = conn.exchange((ECHO, {"text": "x"}), (wrong, {}), timeout=PATIENCE)
        assert isinstance(error_of(failed), errors.UndefinedTable)
    assert run(conn, ECHO, text="x") == [{"text": "x", "length": 1}]


def test_the_end_of_the_connection(conn: Connection) -> None:
    end = number_parameters("end", b"SELECT pg_terminate_backend(pg_backend_pid())")
    assert not conn.is_stale()
    with pytest.raises(errors.AdminShutdown):
        conn.exchange((ECHO, {"text": "x"}), (end, {}), timeout=PATIENCE)
    with pytest.raises(psycopg.OperationalError):
        conn.exchange((ECHO, {"text": "x"}), timeout=PATIENCE)


def test_a_connection_that_the_server_has_ended_is_stale(conn: Connection, server_url: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as dba:
        dba.execute("SELECT pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])
    assert conn.is_stale()
    with pytest.raises(psycopg.OperationalError):
        conn.exchange((ECHO, {"text": "x"}), timeout=PATIENCE)


def test_a_silent_network_ends_a_connection(make_postgres: MakePostgres) -> None:
    """By limits that the operating system has been told of; DATABASE_URL's take precedence."""
    port = free_port()
    make_postgres(listen_addresses="127.0.0.1", port=str(port))
    for query, user_timeout, idle in (
        ("", 10_000, 30),
        ("?tcp_user_timeout=3000&keepalives_idle=7", 3000, 7),
    ):
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres{query}"
        config = load_config({"DATABASE_URL": url, "JWT_SECRET": SECRET})
        with (
            closing(Connection.connect(url, **connection_settings(config))) as conn,
            socket.socket(fileno=os.dup(conn.fileno())) as copy,
        ):
            assert run(conn, ECHO, text="x") == [{"text": "x", "length": 1}]
            assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            for name, value in (
                ("TCP_USER_TIMEOUT", user_timeout),
                ("TCP_KEEPIDLE", idle),
                ("TCP_KEEPINTVL", 5),
                ("TCP_KEEPCNT", 3),
            ):
                if hasattr(socket, name):  # macOS lacks some
                    assert copy.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
