"""JSON by orjson, for Flask's `jsonify` and for what views return."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response
from flask.json.provider import JSONProvider

from taskapi.web.headers import BareResponse


class OrjsonProvider(JSONProvider):
    """Writes compact UTF-8, and a newline at the end for terminals."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj, option=orjson.OPT_APPEND_NEWLINE).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        value = self._prepare_response_obj(args, kwargs)
        body = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
        return BareResponse(body, mimetype="application/json")
