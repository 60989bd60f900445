"""Databases of a Citus cluster, whose coordinator CITUS_DATABASE_URL names as a superuser."""

from __future__ import annotations

import os
from typing import Any

import psycopg
import sqlparse
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.service import ROOT, wait_until

COORDINATOR = os.environ.get("CITUS_DATABASE_URL", "")
SCRIPT = ROOT / "deploy" / "citus" / "distribute.sql"
# Shards of each table: enough for each server to have some, and few, because each test copies them.
SHARDS = 4

_WORKERS = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0 ORDER BY nodeid"
_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


def let_migrate() -> None:
    """Let a new database be migrated, although another one of the server is distributed."""
    with psycopg.connect(COORDINATOR, autocommit=True) as conn:
        for role in ("taskapi_user", "taskapi_login"):
            if conn.execute("SELECT to_regrole(%s) IS NOT NULL", [role]).fetchone() == (True,):
                conn.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))


def distribute(url: str) -> None:
    """Distribute a migrated database of the coordinator, as docs/scaling.md says."""
    name = str(conninfo_to_dict(url)["dbname"])
    create = sql.SQL("CREATE DATABASE {} ENCODING UTF8 TEMPLATE template0")
    coordinator, *workers = _list_nodes()
    for worker in workers:
        with psycopg.connect(worker, autocommit=True) as conn:
            conn.execute(create.format(sql.Identifier(name)))
        with psycopg.connect(make_conninfo(worker, dbname=name)) as conn:
            conn.execute("CREATE EXTENSION citus")
    with psycopg.connect(make_conninfo(coordinator, dbname=name), autocommit=True) as conn:
        conn.execute("CREATE EXTENSION citus")
        conn.execute("SELECT citus_set_coordinator_host(%s, %s)", _address(coordinator))
        for worker in workers:
            conn.execute("SELECT citus_add_node(%s, %s)", _address(worker))
        with conn.transaction():
            conn.execute(f"SET LOCAL citus.shard_count = {SHARDS}".encode())
            # One at a time, as psql sends them: Citus passes on the text of some.
            for statement in sqlparse.split(SCRIPT.read_text()):
                conn.execute(statement.encode())


def copy_database(name: str, template: str) -> None:
    """Copy a distributed database on each server."""
    create = sql.SQL("CREATE DATABASE {} ENCODING UTF8 TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    for node in _list_nodes():
        with psycopg.connect(node, autocommit=True) as conn:

            def is_done(conn: psycopg.Connection[Any] = conn) -> bool:
                # Citus keeps a session of its own in each database that has been used.
                conn.execute(_END_SESSIONS, [template])
                try:
                    conn.execute(create)
                except errors.ObjectInUse:
                    return False
                return True

            wait_until("the template to be free", is_done)


def drop_database(name: str) -> None:
    """Drop a database on each server that has it."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    for node in _list_nodes():
        with psycopg.connect(node, autocommit=True) as conn:
            conn.execute(drop)


def _list_nodes() -> list[str]:
    """Return how to connect to each server of the cluster, the coordinator first."""
    with psycopg.connect(COORDINATOR) as conn:
        workers = conn.execute(_WORKERS).fetchall()
    assert workers, "the database of CITUS_DATABASE_URL has no nodes: run citus_add_node() in it"
    others = (make_conninfo(COORDINATOR, host=host, port=port) for host, port in workers)
    return [COORDINATOR, *others]


def _address(node: str) -> tuple[str, int]:
    params = conninfo_to_dict(node)
    return str(params.get("host") or "localhost"), int(params.get("port") or 5432)
