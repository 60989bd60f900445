"""A user's tasks: /api/{user_id}/tasks."""

from __future__ import annotations

from flask import Blueprint, g, request, url_for

from taskapi import queries
from taskapi.exceptions import AccessDenied, InvalidInput, MissingToken, TaskNotFound, fault
from taskapi.identifiers import parse_uuid
from taskapi.queries import Task
from taskapi.schemas import (
    CompleteTaskSchema,
    CreateTaskSchema,
    UpdateTaskSchema,
    load,
    read_body,
)
from taskapi.tokens import verify_token

bp = Blueprint("tasks", __name__, url_prefix="/api/<user_id>/tasks")

CREATE = CreateTaskSchema()
UPDATE = UpdateTaskSchema()
COMPLETE = CompleteTaskSchema()


@bp.before_request
def authorize() -> None:
    """Let a request pass whose token is good and names the URL's user.

    What the views get as `user_id` is the token's (T029). Raises MissingToken, InvalidToken,
    TokenExpired, IdentityProviderUnavailable, InvalidInput for a path that holds no UUID, and
    AccessDenied, in this order.
    """
    if request.method == "OPTIONS":  # a browser's preflight bears no token
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken
    identity = verify_token(token.strip())
    path = {name: parse_uuid(value) for name, value in (request.view_args or {}).items()}
    malformed = [name for name, value in path.items() if value is None]
    if malformed:
        raise InvalidInput(*(fault("path", name, "Must be a UUID") for name in malformed))
    if path["user_id"] != identity.user_id:
        raise AccessDenied
    request.view_args = path
    g.provider_email = identity.provider_email


@bp.post("")
def create_task(user_id: str) -> tuple[Task, int, dict[str, str]]:
    """Create a task."""
    body = load(CREATE, read_body())
    task = queries.create_task(
        user_id=user_id,
        provider_email=g.provider_email,
        title=body["title"],
        description=body.get("description"),
        completed=body["completed"],
    )
    location = url_for("tasks.get_task", user_id=user_id, id=task["id"])
    return task, 201, {"Location": location}


@bp.get("")
def list_tasks(user_id: str) -> list[Task]:
    """List the tasks, newest first."""
    return queries.list_tasks(user_id=user_id)


@bp.get("/<id>")
def get_task(user_id: str, id: str) -> Task:
    """Read one task."""
    return found(queries.get_task(user_id=user_id, id=id))


@bp.put("/<id>")
def update_task(user_id: str, id: str) -> Task:
    """Change the title and, where it is sent, the description."""
    body = load(UPDATE, read_body())
    task = queries.update_task(
        user_id=user_id,
        id=id,
        title=body["title"],
        set_description="description" in body,
        description=body.get("description"),
    )
    return found(task)


@bp.patch("/<id>/complete")
def complete_task(user_id: str, id: str) -> Task:
    """Set `completed` to what the body says, or toggle it where there is no body."""
    body = read_body()
    completed = None if body is None else load(COMPLETE, body)["completed"]
    return found(queries.complete_task(user_id=user_id, id=id, completed=completed))


@bp.delete("/<id>")
def delete_task(user_id: str, id: str) -> tuple[str, int]:
    """Delete a task for good."""
    if not queries.delete_task(user_id=user_id, id=id):
        raise TaskNotFound
    return "", 204


def found(task: Task | None) -> Task:
    """Return the task that a query found. Raises TaskNotFound."""
    if task is None:
        raise TaskNotFound
    return task
