"""What a client may send about tasks. Members that may be written are named here only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from marshmallow import validate

from taskapi.web.fields import (
    Array,
    Date,
    Flag,
    Identifier,
    Integer,
    QueryFlag,
    QueryInteger,
    RequestSchema,
    SingleLine,
    StoredText,
    StrippedText,
    Text,
    TextSet,
    at_most,
    length,
)

SORTS = ("-created_at", "created_at", "due_on", "position")


def operation(name: str) -> Text:
    """Return the field that says which operation of a batch an object is."""
    return Text(required=True, validate=validate.Equal(name, error=f"Must be {name}"))


class UpdateTaskSchema(RequestSchema):
    """The body of PUT /api/{user_id}/tasks/{id}. An absent description is unchanged."""

    title = SingleLine(required=True, validate=length(1, 500))
    description = StoredText(allow_none=True, validate=length(0, 10_000))


class PatchTaskSchema(UpdateTaskSchema):
    """The body of PATCH /api/{user_id}/tasks/{id}: absent members are unchanged."""

    title = SingleLine(validate=length(1, 500))
    completed = Flag()
    due_on = Date(allow_none=True)
    priority = Integer(0, 9)
    labels = TextSet(most=20, low=1, high=50)
    position = Text(
        allow_none=True,
        validate=validate.Regexp(
            r"[0-9A-Za-z]{1,64}\Z", error="Must have 1 to 64 of the characters 0-9, A-Z and a-z"
        ),
    )


class CreateTaskSchema(PatchTaskSchema):
    """The body of POST /api/{user_id}/tasks."""

    title = SingleLine(required=True, validate=length(1, 500))
    completed = Flag(load_default=False)
    priority = Integer(0, 9, load_default=0)
    labels = TextSet(most=20, low=1, high=50, load_default=list)


class CreateOperationSchema(CreateTaskSchema):
    """An operation of a batch that creates a task."""

    op = operation("create")
    id = Identifier()


class UpdateOperationSchema(PatchTaskSchema):
    """An operation of a batch that changes a task. Absent members are unchanged."""

    op = operation("update")
    id = Identifier(required=True)
    if_match = Text()


class DeleteOperationSchema(RequestSchema):
    """An operation of a batch that deletes a task."""

    op = operation("delete")
    id = Identifier(required=True)
    if_match = Text()


class BatchSchema(RequestSchema):
    """The body of POST /api/{user_id}/tasks/batch. Each operation has a schema of its own."""

    operations = Array(required=True, validate=at_most(1000))
    atomic = Flag(load_default=False)


class ListChangesSchema(RequestSchema):
    """The query string of GET /api/{user_id}/tasks/changes."""

    since = Text(load_default=None)
    limit = QueryInteger(1, 1000, load_default=1000)


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
    due_from = Date(load_default=None)
    due_to = Date(load_default=None)
    label = StoredText(load_default=None, validate=length(1, 50))
    priority_from = QueryInteger(0, 9, load_default=None)
    priority_to = QueryInteger(0, 9, load_default=None)
    sort = Text(
        load_default="-created_at",
        validate=validate.OneOf(SORTS, error="Must be -created_at, created_at, due_on or position"),
    )
