"""Operators' queries: each function runs the file of its name in sql/operations/."""

from __future__ import annotations

import uuid

from psycopg import errors

from taskapi import config
from taskapi.database import pool
from taskapi.database.pool import RoleRefused

# Seconds. Longer than an identity provider's tokens are valid.
LONGEST_PROVIDER_TOKEN = 90 * 86_400


def list_applied_migrations() -> list[str]:
    """Return the ids of the applied migrations."""
    try:
        rows = pool.current().as_nobody().read("list_applied_migrations")
    except (errors.UndefinedTable, RoleRefused):
        # Without a table, or without the function that sql/act_as.sql calls
        return []
    return [row["migration_id"] for row in rows]


def purge_deleted_tasks() -> int:
    """Forget some of the tasks that were deleted more than 30 days ago. Returns how many."""
    [row] = pool.current().as_purger().write("purge_deleted_tasks")
    deleted: int = row["deleted_rows"]
    return deleted


def list_closed_accounts() -> list[str]:
    """Return the ids of some accounts that are closed and not deleted yet."""
    return [row["id"] for row in pool.current().as_purger().read("list_closed_accounts")]


def purge_closed_account(*, id: str) -> int:
    """Delete some of the tasks of a closed account; without tasks, the account.

    Returns how many rows.
    """
    [row] = pool.current().as_login(f"{id}@closed.invalid").write("purge_closed_account", id=id)
    deleted: int = row["deleted_rows"]
    return deleted


def purge_revocations() -> int:
    """Delete some of the revocations that no valid token needs any more. Returns how many."""
    lifetime = max(config.current().jwt_expires_seconds, LONGEST_PROVIDER_TOKEN)
    [row] = pool.current().as_purger().write("purge_revocations", token_lifetime=lifetime)
    deleted: int = row["deleted_rows"]
    return deleted


def reset_feeds() -> None:
    """Make all tokens of the change feed invalid."""
    pool.current().as_purger().write("reset_feeds", epoch=str(uuid.uuid4()))


def purge_idempotency_keys() -> int:
    """Delete some of the idempotency keys that are older than 24 hours. Returns how many."""
    [row] = pool.current().as_purger().write("purge_idempotency_keys")
    deleted: int = row["deleted_keys"]
    return deleted
