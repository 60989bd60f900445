"""The ceiling for Flask: one view for any path and method, which answers BODY_BYTES bytes."""

from __future__ import annotations

import os

from flask import Flask, Response

BODY = b'"%s"' % (b"0" * (int(os.environ["BODY_BYTES"]) - 2))
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

app = Flask(__name__, static_folder=None)


@app.route("/", defaults={"path": ""}, methods=METHODS)
@app.route("/<path:path>", methods=METHODS)
def answer(path: str) -> Response:
    """Answer with the constant."""
    return Response(BODY, mimetype="application/json")
