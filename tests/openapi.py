"""The API's document: `python -m tests.openapi` renews its copy in docs/."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask

from taskapi import create_app
from taskapi.config import load_config
from taskapi.openapi import build_document
from tests.service import ROOT, SECRET

COPY = ROOT / "docs" / "openapi.json"


def make_app(**variables: str) -> Flask:
    """Return the application, which connects to nothing yet."""
    url = "postgresql://127.0.0.1:1/nobody"
    return create_app(load_config({"DATABASE_URL": url, "JWT_SECRET": SECRET, **variables}))


def read_document() -> dict[str, Any]:
    """Return the copy, which a test compares with what is served."""
    document: dict[str, Any] = json.loads(COPY.read_bytes())
    return document


if __name__ == "__main__":
    COPY.write_bytes(build_document(make_app()))
