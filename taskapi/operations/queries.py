"""Operators' queries: each function runs the file of its name in sql/operations/."""

from __future__ import annotations

from psycopg import errors

from taskapi.database import pool


def list_applied_migrations() -> list[str]:
    """Return the ids of the applied migrations."""
    try:
        rows = pool.current().as_nobody().read("list_applied_migrations")
    except errors.UndefinedTable:
        return []
    return [row["migration_id"] for row in rows]


def purge_idempotency_keys() -> int:
    """Delete some of the idempotency keys that are older than 24 hours. Returns how many."""
    [row] = pool.current().as_purger().write("purge_idempotency_keys")
    deleted: int = row["deleted_keys"]
    return deleted
