"""Reading a request's body and query string, and checking them against a schema."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from flask import abort, request
from marshmallow import Schema, ValidationError

from taskapi.exceptions import Fault, InvalidInput, Location, fault, missing
from taskapi.web.fields import RequestSchema

MAX_BODY_BYTES = 64 * 1024
MAX_BATCH_BYTES = 1024 * 1024

NOT_AN_OBJECT: Fault = {"loc": ["body"], "msg": "Must be a JSON object", "type": "value_error"}

# JSON Merge Patch (RFC 7396), under its own media type and as plain JSON.
MERGE_PATCH = ("application/merge-patch+json", "application/json")

# An escape in JSON text: a surrogate pair, a lone surrogate (the group), or any other escape.
JSON_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def load(
    schema: Schema, body: Mapping[str, Any] | None, location: Location = "body"
) -> dict[str, Any]:
    """Return the members that the schema names, checked. No body counts as an empty object.

    Raises InvalidInput with one entry for each fault; `location` starts each entry's `loc`.
    """
    body = body or {}
    try:
        checked: dict[str, Any] = schema.load(body)
    except ValidationError as error:
        raise InvalidInput(
            *(
                fault(location, name, message) if name in body else missing(location, name)
                for name, messages in error.messages_dict.items()
                for message in messages
            )
        ) from error
    return checked


def load_query(schema: RequestSchema) -> dict[str, Any]:
    """Return the query parameters that the schema names, checked.

    Raises InvalidInput, also for a parameter that is given twice and for a foreign one.
    """
    pairs = query_pairs()
    given = [(name, value) for name, value in pairs if name in schema.fields]
    names = [name for name, _ in given]
    messages = {
        name: f"Not a parameter of this list: use {ours}"
        for name, ours in schema.foreign.items()
        if name in dict(pairs)
    } | {name: "Must be given once" for name in names if names.count(name) > 1}
    if messages:
        raise InvalidInput(*(fault("query", name, text) for name, text in messages.items()))
    return load(schema, dict(given), "query")


def query_pairs() -> list[tuple[str, str]]:
    """Return the names and values of the query string, in order.

    Bytes that aren't UTF-8 become lone surrogates, which the fields refuse.
    """
    query = request.query_string.decode(errors="surrogateescape")
    return parse_qsl(query, keep_blank_values=True, errors="surrogateescape")


def read_body(
    media_types: Collection[str] = (), max_bytes: int = MAX_BODY_BYTES
) -> dict[str, Any] | None:
    """Return the request's JSON object, or None if there is no body.

    `media_types` are the accepted ones; empty means any JSON type. Raises InvalidInput for a JSON
    value that is not an object. Aborts with 400 if the body is not JSON or not complete, 411
    without a length, 413 above `max_bytes` and 415 for another media type.
    """
    # Werkzeug would cut a body of unknown length at its limit and pass on the first part.
    if "Transfer-Encoding" in request.headers:
        abort(411)
    if not request.content_length:
        return None
    if request.content_length > max_bytes:
        abort(413)
    body = request.get_data(cache=False)
    if len(body) != request.content_length:
        abort(400)
    if not (request.mimetype in media_types if media_types else request.is_json):
        abort(415)
    value = _parse_json(body)
    if not isinstance(value, dict):
        raise InvalidInput(NOT_AN_OBJECT)
    return value


def _parse_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    # orjson reports lone surrogates as invalid JSON. If they are the only problem, the standard
    # parser reads the body, and the schema refuses the members that have them by name.
    try:
        orjson.loads(JSON_ESCAPE.sub(lambda m: b"\\u0000" if m[1] else m[0], body))
        return json.loads(body)
    except (ValueError, RecursionError):
        abort(400)
