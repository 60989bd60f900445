"""What a client may send about tasks. Members that may be written are named here only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from marshmallow import validate

from taskapi.web.fields import (
    Flag,
    QueryFlag,
    QueryInteger,
    RequestSchema,
    SingleLine,
    StoredText,
    StrippedText,
    Text,
    length,
)


class UpdateTaskSchema(RequestSchema):
    """The body of PUT /api/{user_id}/tasks/{id}. An absent description is unchanged."""

    title = SingleLine(required=True, validate=length(1, 500))
    description = StoredText(allow_none=True, validate=length(0, 10_000))


class CreateTaskSchema(UpdateTaskSchema):
    """The body of POST /api/{user_id}/tasks."""

    completed = Flag(load_default=False)


class PatchTaskSchema(UpdateTaskSchema):
    """The body of PATCH /api/{user_id}/tasks/{id}: absent members are unchanged."""

    title = SingleLine(validate=length(1, 500))
    completed = Flag()


class StoredTitleSchema(RequestSchema):
    """A title that earlier releases accepted, which a client may send back unchanged."""

    title = StrippedText(required=True, validate=length(1, 500))


class CompleteTaskSchema(RequestSchema):
    """The body of PATCH /api/{user_id}/tasks/{id}/complete."""

    completed = Flag(required=True)


class CompleteTaskQuerySchema(RequestSchema):
    """The query string of PATCH /api/{user_id}/tasks/{id}/complete: the body's member."""

    completed = QueryFlag()


class ListTasksSchema(RequestSchema):
    """The query string of GET /api/{user_id}/tasks."""

    foreign: ClassVar[Mapping[str, str]] = {
        "status": "completed",
        "search": "q",
        "offset": "cursor",
        "page": "cursor",
        "order_by": "sort",
    }

    limit = QueryInteger(1, 1000, load_default=1000)
    cursor = Text(load_default=None)
    completed = QueryFlag(load_default=None)
    q = StoredText(load_default=None, validate=length(1, 100))
    sort = Text(
        load_default="-created_at",
        validate=validate.OneOf(
            ["-created_at", "created_at"], error="Must be -created_at or created_at"
        ),
    )
