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

DIST = str(files(flask_swagger_ui) / "dist")
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")

# Swagger UI sets style attributes and has icons in data: URLs. Everything else is refused.
POLICY = (
    "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'"
)

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>taskapi</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

# The token is not stored: after a reload the page asks for it again.
SCRIPT = """\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null
});
"""


@bp.get("/openapi.json")
def document() -> Response:
    """Return the OpenAPI document."""
    return Response(DOCUMENT, mimetype="application/json")


@bp.get("/docs")
def page() -> Response:
    """Return the page."""
    headers = {"Content-Security-Policy": POLICY}
    return Response(PAGE, mimetype="text/html", headers=headers)


@bp.get("/docs/<file>")
def asset(file: str) -> Response:
    """Return a file that the page loads. A browser revalidates it, and gets a 304."""
    if file == "start.js":
        return Response(SCRIPT, mimetype="text/javascript")
    if file not in ASSETS:
        abort(404)
    return send_from_directory(DIST, file)
