"""Where things are: /."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app

from taskapi.version import VERSION

bp = Blueprint("index", __name__)


@bp.get("/")
def index() -> dict[str, Any]:
    """Say what answers here, and where things are."""
    links = {"health": "/health", "ready": "/ready"}
    if "docs" in current_app.blueprints:
        links |= {"docs": "/docs", "openapi": "/openapi.json"}
    return {"name": "taskapi", "version": VERSION, "links": links}
