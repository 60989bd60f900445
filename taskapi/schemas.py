"""What a client may send: the schemas of bodies and queries, and the reading of them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import orjson
from flask import abort, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from taskapi.exceptions import Fault, InvalidInput, fault, missing

MAX_BODY_BYTES = 64 * 1024
DRAINED_BYTES = 2 * 1024 * 1024

NOT_AN_OBJECT: Fault = {"loc": ["body"], "msg": "Must be a JSON object", "type": "value_error"}

# JSON Merge Patch (RFC 7396) under its own name and under that of all JSON.
MERGE_PATCH = ("application/merge-patch+json", "application/json")

# An escape in JSON text: a surrogate pair, a lone surrogate (the group), or any other.
JSON_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class Text(fields.Field[str]):
    """A string that UTF-8 can encode; a number is no string."""

    default_error_messages = {
        "required": "Field required",
        "null": "Must not be null",
        "invalid": "Must be a string",
        "surrogate": "Must not contain lone surrogates",
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise self.make_error("surrogate")
        return value


class StoredText(Text):
    """A string that PostgreSQL can store."""

    default_error_messages = {"nul": "Must not contain U+0000"}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if "\0" in text:
            raise self.make_error("nul")
        return text


class Title(StoredText):
    """A string without the white space at its ends."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).strip()


class Flag(fields.Field[bool]):
    """A JSON boolean; `1` and `"yes"` are none."""

    default_error_messages = {
        "required": "Field required",
        "null": "Must not be null",
        "invalid": "Must be true or false",
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class QueryFlag(Text):
    """`true` or `false` in a query."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if value not in ("true", "false"):
            raise ValidationError("Must be true or false")
        return value == "true"


class QueryInteger(Text):
    """A whole number in a query, written in decimal digits."""

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not self.low <= int(value) <= self.high:
            raise ValidationError(f"Must be a whole number from {self.low} to {self.high}")
        return int(value)


def _length(low: int, high: int) -> validate.Length:
    return validate.Length(low, high, error=f"Must have {low} to {high} characters")


# What the API's document says of a member is in its metadata.
TITLE = {
    "description": "Stored without the white space at its ends, and counted so.",
    "examples": ["Buy milk"],
}


class BodySchema(Schema):
    """A JSON object or a query, of which members that aren't named are ignored."""

    class Meta:
        unknown = EXCLUDE


class ProviderClaimsSchema(BodySchema):
    """What an identity provider's token says of a user, as far as it is stored."""

    email = StoredText(
        required=True,
        validate=[
            validate.Length(max=254, error="Must have at most 254 characters"),
            validate.Regexp(
                r"[^@\s]+@[^@\s]+\Z", error="Must be an email address with one @ and no white space"
            ),
        ],
        metadata={
            "description": "Compared without regard to case, stored as written.",
            "examples": ["ann@example.com"],
        },
    )


class SignupSchema(ProviderClaimsSchema):
    """The body of POST /api/auth/signup."""

    password = Text(
        required=True,
        validate=_length(8, 128),
        metadata={
            "description": "Any characters; only an Argon2id hash of it is kept.",
            "examples": ["a long password"],
        },
    )


class LoginSchema(BodySchema):
    """The body of POST /api/auth/login: what no account can have is wrong, not malformed."""

    email = StoredText(required=True, metadata={"examples": ["ann@example.com"]})
    password = Text(required=True, metadata={"examples": ["a long password"]})


class UpdateTaskSchema(BodySchema):
    """The body of PUT /api/{user_id}/tasks/{id}."""

    title = Title(required=True, validate=_length(1, 500), metadata=TITLE)
    description = StoredText(
        allow_none=True,
        validate=validate.Length(max=10_000, error="Must have at most 10000 characters"),
        metadata={
            "description": "Left out: none in a new task, unchanged in one that is there. "
            "Null: none. An empty string is a description.",
            "examples": ["two litres"],
        },
    )


class CreateTaskSchema(UpdateTaskSchema):
    """The body of POST /api/{user_id}/tasks."""

    completed = Flag(load_default=False, metadata={"description": "Left out: false."})


class PatchTaskSchema(UpdateTaskSchema):
    """The body of PATCH /api/{user_id}/tasks/{id}: what null would remove but can't is refused."""

    title = Title(validate=_length(1, 500), metadata=TITLE)
    completed = Flag(metadata={"description": "Left out: unchanged."})


class CompleteTaskSchema(BodySchema):
    """The body of PATCH /api/{user_id}/tasks/{id}/complete, where there is one."""

    completed = Flag(required=True, metadata={"description": "What it shall be."})


class ListTasksSchema(BodySchema):
    """The query of GET /api/{user_id}/tasks."""

    limit = QueryInteger(
        1, 1000, load_default=1000, metadata={"description": "How many tasks a page has at most."}
    )
    cursor = Text(
        load_default=None,
        metadata={
            "description": "Where the page begins. Don't make one up: follow the `Link` of the "
            "page before as it is. It is good for this list, filters and order only."
        },
    )
    completed = QueryFlag(
        load_default=None, metadata={"description": "Only tasks that are, or aren't, completed."}
    )
    q = StoredText(
        load_default=None,
        validate=_length(1, 100),
        metadata={
            "description": "Only tasks whose title or description holds this text, without regard "
            "to case. Each character means itself.",
        },
    )
    sort = Text(
        load_default="-created_at",
        validate=validate.OneOf(
            ["-created_at", "created_at"], error="Must be -created_at or created_at"
        ),
        metadata={"description": "Newest first (`-created_at`) or oldest first."},
    )


def load(schema: Schema, body: Mapping[str, Any] | None, location: str = "body") -> dict[str, Any]:
    """Return the members that the schema names, checked; no body counts as an empty object.

    Raises InvalidInput with one entry for each fault, which names the location.
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


def load_query(schema: Schema) -> dict[str, Any]:
    """Return the query's parameters that the schema names, checked.

    Raises InvalidInput, also for one that is given twice: none of the two is the right one.
    """
    given = [(name, value) for name, value in query_pairs() if name in schema.fields]
    names = [name for name, _ in given]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InvalidInput(*(fault("query", name, "Must be given once") for name in repeated))
    return load(schema, dict(given), "query")


def query_pairs() -> list[tuple[str, str]]:
    """Return the names and values of the query in their order.

    What isn't UTF-8 becomes lone surrogates, which the fields refuse: nothing is replaced.
    """
    query = request.query_string.decode(errors="surrogateescape")
    return parse_qsl(query, keep_blank_values=True, errors="surrogateescape")


def read_body(media_types: Collection[str] = ()) -> dict[str, Any] | None:
    """Return the request's JSON object, or None if there is no body.

    Raises InvalidInput if it is another JSON value; aborts with 400 if it isn't JSON or isn't
    whole, 411 without a length, 413 over MAX_BODY_BYTES and 415 if it isn't declared as JSON, or
    as one of the media types where they are given.
    """
    # Werkzeug would cut a body of unknown length at the limit and hand on what came before.
    if "Transfer-Encoding" in request.headers:
        _refuse(411)
    if not request.content_length:
        return None
    if request.content_length > MAX_BODY_BYTES:
        _refuse(413)
    body = request.get_data(cache=False)
    if len(body) != request.content_length:
        abort(400)
    if not (request.mimetype in media_types if media_types else request.is_json):
        abort(415)
    value = _parse_json(body)
    if not isinstance(value, dict):
        raise InvalidInput(NOT_AN_OBJECT)
    return value


def _refuse(status: int) -> NoReturn:
    """Abort, after reading what a moderate client still sends.

    gunicorn closes a connection with more than 64 KiB unread, and the client that is still
    sending might never see the answer.
    """
    request.environ["wsgi.input"].read(DRAINED_BYTES)
    abort(status)


def _parse_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses lone surrogates as if they weren't JSON. If they were all that it minded, the
    # standard parser reads them, for the schema to refuse those that matter by their names.
    try:
        orjson.loads(JSON_ESCAPE.sub(lambda m: b"\\u0000" if m[1] else m[0], body))
        return json.loads(body)
    except (ValueError, RecursionError):
        abort(400)
