"""Whether the process lives, and whether it can serve: /health and /ready."""

from __future__ import annotations

from flask import Blueprint

from taskapi import queries
from taskapi.exceptions import MigrationsPending
from taskapi.sql_files import released_migrations

bp = Blueprint("health", __name__)

RELEASED = set(released_migrations())


@bp.get("/health")
def health() -> dict[str, str]:
    """Tell that the process lives; asks no database."""
    return {"status": "ok"}


@bp.get("/ready")
def ready() -> dict[str, str]:
    """Tell that the database answers and has every migration of this release."""
    pending = RELEASED.difference(queries.list_applied_migrations())
    if pending:
        raise MigrationsPending(", ".join(sorted(pending)))
    return {"status": "ok"}
