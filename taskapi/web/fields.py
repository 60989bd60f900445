"""marshmallow fields that are strict about JSON types, and refuse text PostgreSQL can't store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from taskapi.web.uuids import parse_uuid

# What a single line can't have: control characters (Cc), line and paragraph separators, and
# characters that turn the direction of the text after them (bidirectional embeddings, overrides and
# isolates).
NOT_IN_A_LINE = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
# What shows nothing: those, white space, format characters (Cf), and others that are drawn as
# nothing, such as variation selectors and Hangul fillers. Listed, because the categories that
# Python knows depend on its release.
INVISIBLE = (
    r"\u0000-\u0020\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    r"\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800"
    r"\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)


class RequestSchema(Schema):
    """A JSON object or a query string. Members that the schema doesn't name are ignored.

    But not the parameters of other APIs in `foreign`, which name ours: ignoring a filter would give
    a client more than it asked for.
    """

    foreign: ClassVar[Mapping[str, str]] = {}

    class Meta:
        unknown = EXCLUDE


class Text(fields.Field[str]):
    """A string that UTF-8 can encode. Numbers are not strings."""

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


class StrippedText(StoredText):
    """A string without leading and trailing white space."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).strip()


class SingleLine(StrippedText):
    """A visible line without leading and trailing white space."""

    default_error_messages = {
        "line": "Must be one line, without control characters and bidirectional overrides",
        "invisible": "Must have a visible character",
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if re.search(f"[{NOT_IN_A_LINE}]", text):
            raise self.make_error("line")
        if text and not re.search(f"[^{INVISIBLE}]", text):
            raise self.make_error("invisible")
        return text


class Identifier(Text):
    """A UUID. Returned in lower case."""

    default_error_messages = {"uuid": "Must be a UUID"}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        uuid = parse_uuid(super()._deserialize(value, attr, data, **kwargs))
        if uuid is None:
            raise self.make_error("uuid")
        return uuid


class Flag(fields.Field[bool]):
    """A JSON boolean. `1` and `"yes"` are not booleans."""

    default_error_messages = {
        "required": "Field required",
        "null": "Must not be null",
        "invalid": "Must be true or false",
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Integer(fields.Field[int]):
    """A whole JSON number from `low` to `high`. `1.0` is one, as in JSON Schema; `true` is none."""

    default_error_messages = {
        "required": "Field required",
        "null": "Must not be null",
        "invalid": "Must be a whole number from {low} to {high}",
    }

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> int:
        if type(value) not in (int, float) or not self.low <= value <= self.high or value % 1:
            raise self.make_error("invalid", low=self.low, high=self.high)
        return int(value)


class Date(Text):
    """A calendar date, YYYY-MM-DD (RFC 3339's full-date), in JSON or a query string."""

    default_error_messages = {"date": "Must be a date, YYYY-MM-DD"}

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise self.make_error("date")
        try:
            date.fromisoformat(text)
        except ValueError as error:
            raise self.make_error("date") from error
        return text


class Array(fields.Field[list[Any]]):
    """A JSON array."""

    default_error_messages = {
        "required": "Field required",
        "null": "Must not be null",
        "invalid": "Must be an array",
    }

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return value


class TextSet(Array):
    """A JSON array of at most `most` distinct strings of `low` to `high` characters, trimmed."""

    default_error_messages = {
        "most": "Must have at most {most} elements",
        "elements": "Must have strings of {low} to {high} characters, without white space at the"
        " ends",
        "distinct": "Must not have an element twice",
    }

    def __init__(self, most: int, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.most, self.low, self.high = most, low, high
        self._element = StrippedText(validate=length(low, high))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        texts = super()._deserialize(value, attr, data, **kwargs)
        if len(texts) > self.most:
            raise self.make_error("most", most=self.most)
        for text in texts:
            try:
                is_good = self._element.deserialize(text) == text
            except ValidationError:
                is_good = False
            if not is_good:
                raise self.make_error("elements", low=self.low, high=self.high)
        if len(set(texts)) < len(texts):
            raise self.make_error("distinct")
        return texts


class QueryFlag(Text):
    """`true` or `false` in a query string."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if value not in ("true", "false"):
            raise ValidationError("Must be true or false")
        return value == "true"


class QueryInteger(Text):
    """A whole number from `low` to `high` in a query string, in decimal digits."""

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not self.low <= int(value) <= self.high:
            raise ValidationError(f"Must be a whole number from {self.low} to {self.high}")
        return int(value)


def length(low: int, high: int) -> validate.Length:
    """Return a validator of a string's length in characters."""
    if low == 0:
        return validate.Length(max=high, error=f"Must have at most {high} characters")
    return validate.Length(low, high, error=f"Must have {low} to {high} characters")


def at_most(elements: int) -> validate.Length:
    """Return a validator of an array's number of elements."""
    return validate.Length(max=elements, error=f"Must have at most {elements} elements")
