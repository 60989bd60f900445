"""The routes for operators: /, /health and /ready."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify, request

from taskapi.database.statements import released_migrations
from taskapi.exceptions import MigrationsPending
from taskapi.operations import queries
from taskapi.version import VERSION

bp = Blueprint("operations", __name__)

# The first one also for clients that accept both alike, as curl's */* does.
INDEX_TYPES = ("application/json", "text/html")
RELEASED = set(released_migrations())


@bp.get("/")
def index() -> Response:
    """Show the name, the version and the links of this service."""
    links = {"health": "/health", "ready": "/ready"}
    has_docs = "docs" in current_app.blueprints
    if has_docs:
        links |= {"docs": "/docs", "openapi": "/openapi.json"}
    if has_docs and request.accept_mimetypes.best_match(INDEX_TYPES) == "text/html":
        response = Response(status=303, headers={"Location": "/docs"})
    else:
        response = jsonify(name="taskapi", version=VERSION, links=links)
    if has_docs:
        response.vary.add("Accept")
    return response


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
