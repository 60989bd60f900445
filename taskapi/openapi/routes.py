"""The API's description for programs at /openapi.json, and as a page to try it on at /docs."""

from __future__ import annotations

from importlib.resources import files

import flask_swagger_ui
import orjson
import yaml
from flask import Blueprint, Response, abort, send_from_directory

from taskapi.version import VERSION

bp = Blueprint("docs", __name__)


def read_document() -> bytes:
    """Return openapi.yaml as indented JSON, with this release's version."""
    document = yaml.safe_load(files("taskapi.openapi").joinpath("openapi.yaml").read_text("utf-8"))
    document["info"]["version"] = VERSION
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


DOCUMENT = read_document()

OURS = files("taskapi.openapi").joinpath("page")
SWAGGER_UI = files(flask_swagger_ui).joinpath("dist")
ASSETS = {
    "start.js": OURS,
    "narrow.css": OURS,
    "swagger-ui.css": SWAGGER_UI,
    "swagger-ui-bundle.js": SWAGGER_UI,
    "favicon-32x32.png": SWAGGER_UI,
}

# Swagger UI sets style attributes and has icons in data: URLs. Everything else is refused.
POLICY = (
    "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'"
)


@bp.get("/openapi.json")
def document() -> Response:
    """Return the OpenAPI document."""
    return Response(DOCUMENT, mimetype="application/json")


@bp.get("/docs")
def page() -> Response:
    """Return the page."""
    response = send_from_directory(str(OURS), "index.html")
    response.headers["Content-Security-Policy"] = POLICY
    return response


@bp.get("/docs/<file>")
def asset(file: str) -> Response:
    """Return a file that the page loads. A browser revalidates it, and gets a 304."""
    if file not in ASSETS:
        abort(404)
    return send_from_directory(str(ASSETS[file]), file)
