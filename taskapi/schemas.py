"""What a client may send: the schemas of the request bodies, and the reading of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson
from flask import abort, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from taskapi.exceptions import InvalidInput, fault, missing

MAX_BODY_BYTES = 64 * 1024
DRAINED_BYTES = 2 * 1024 * 1024

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


def _length(low: int, high: int) -> validate.Length:
    return validate.Length(low, high, error=f"Must have {low} to {high} characters")


class BodySchema(Schema):
    """A JSON object, of which members that aren't named are ignored."""

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
    )


class SignupSchema(ProviderClaimsSchema):
    """The body of POST /api/auth/signup."""

    password = Text(required=True, validate=_length(8, 128))


class LoginSchema(BodySchema):
    """The body of POST /api/auth/login: what no account can have is wrong, not malformed."""

    email = StoredText(required=True)
    password = Text(required=True)


class UpdateTaskSchema(BodySchema):
    """The body of PUT /api/{user_id}/tasks/{id}."""

    title = Title(required=True, validate=_length(1, 500))
    description = StoredText(
        allow_none=True,
        validate=validate.Length(max=10_000, error="Must have at most 10000 characters"),
    )


class CreateTaskSchema(UpdateTaskSchema):
    """The body of POST /api/{user_id}/tasks."""

    completed = Flag(load_default=False)


class CompleteTaskSchema(BodySchema):
    """The body of PATCH /api/{user_id}/tasks/{id}/complete, where there is one."""

    completed = Flag(required=True)


def load(schema: Schema, body: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the members that the schema names, checked; no body counts as an empty object.

    Raises InvalidInput with one entry for each fault.
    """
    body = body or {}
    try:
        checked: dict[str, Any] = schema.load(body)
    except ValidationError as error:
        raise InvalidInput(
            *(
                fault("body", name, message) if name in body else missing("body", name)
                for name, messages in error.messages_dict.items()
                for message in messages
            )
        ) from error
    return checked


def read_body() -> dict[str, Any] | None:
    """Return the request's JSON object, or None if there is no body.

    Raises InvalidInput if it is another JSON value; aborts with 400 if it isn't JSON or isn't
    whole, 411 without a length, 413 over MAX_BODY_BYTES and 415 if it isn't declared as JSON.
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
    if not request.is_json:
        abort(415)
    value = _parse_json(body)
    if not isinstance(value, dict):
        raise InvalidInput({"loc": ["body"], "msg": "Must be a JSON object", "type": "value_error"})
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
