"""The OpenAPI document, and an application that connects to nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flask import Flask

from taskapi import create_app
from taskapi.config import load_config
from taskapi.openapi.routes import DOCUMENT as BYTES
from tests.support.service import SECRET

DOCUMENT: dict[str, Any] = json.loads(BYTES)

# Routes that are not part of the API: the document itself and the page that shows it.
UNDOCUMENTED = {"docs.document", "docs.page", "docs.asset"}


def make_app(**variables: str) -> Flask:
    """Return the application, which connects to nothing yet."""
    url = "postgresql://127.0.0.1:1/nobody"
    return create_app(load_config({"DATABASE_URL": url, "JWT_SECRET": SECRET, **variables}))


def write_document(folder: Path) -> Path:
    """Write the document to a file in a folder, for a generator of clients."""
    path = folder / "openapi.json"
    path.write_bytes(BYTES)
    return path


def resolve(value: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document."""
    while "$ref" in value:
        target: Any = DOCUMENT
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


def examples(content: dict[str, Any]) -> dict[str, Any]:
    """Return the examples of a media type by their names; a single one has the name ""."""
    named = content.get("examples", {})
    values = {name: resolve(example)["value"] for name, example in named.items()}
    return {"": content["example"]} | values if "example" in content else values
