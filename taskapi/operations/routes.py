"""The routes for operators: /, /health and /ready."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app

from taskapi.database.statements import released_migrations
from taskapi.exceptions import MigrationsPending
from taskapi.operations import queries
from taskapi.version import VERSION

bp = Blueprint("operations", __name__)

RELEASED = set(released_migrations())


@bp.get("/")
def index() -> dict[str, Any]:
    """Show the name, the version and the links of this service."""
    links = {"health": "/health", "ready": "/ready"}
    if "docs" in current_app.blueprints:
        links |= {"docs": "/docs", "openapi": "/openapi.json"}
    return {"name": "taskapi", "version": VERSION, "links": links}


@bp.get("/health")
def health() -> dict[str, str]:
    """Report that the process is alive. Does not use the database."""
    return {"status": "ok"}


@bp.get("/ready")
def ready() -> dict[str, str]:
    """Report whether the database answers and has every migration of this release."""
    pending = RELEASED.difference(queries.list_applied_migrations())
    if pending:
        raise MigrationsPending(", ".join(sorted(pending)))
    return {"status": "ok"}
