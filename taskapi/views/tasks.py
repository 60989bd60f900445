"""A user's tasks: /api/{user_id}/tasks."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, jsonify, request, url_for

from taskapi import etags, idempotency, pages, queries
from taskapi.exceptions import AccessDenied, InvalidInput, MissingToken, TaskNotFound, fault
from taskapi.identifiers import parse_uuid
from taskapi.queries import Task
from taskapi.schemas import (
    MERGE_PATCH,
    NOT_AN_OBJECT,
    CompleteTaskSchema,
    CreateTaskSchema,
    ListTasksSchema,
    PatchTaskSchema,
    UpdateTaskSchema,
    load,
    load_query,
    read_body,
)
from taskapi.tokens import verify_token

bp = Blueprint("tasks", __name__, url_prefix="/api/<user_id>/tasks")

CREATE = CreateTaskSchema()
LIST = ListTasksSchema()
UPDATE = UpdateTaskSchema()
PATCH = PatchTaskSchema()
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
    g.user_id, g.task_id = identity.user_id, path.get("id")
    malformed = [name for name, value in path.items() if value is None]
    if malformed:
        raise InvalidInput(*(fault("path", name, "Must be a UUID") for name in malformed))
    if path["user_id"] != identity.user_id:
        raise AccessDenied
    request.view_args = path
    g.provider_email = identity.provider_email


@bp.after_request
def name_patch_formats(response: Response) -> Response:
    """Say what PATCH of a task takes, where a client asks or has got it wrong (RFC 5789)."""
    is_task = request.url_rule is not None and request.url_rule.rule == f"{bp.url_prefix}/<id>"
    if is_task and (request.method == "OPTIONS" or response.status_code == 415):
        response.headers["Accept-Patch"] = ", ".join(MERGE_PATCH)
    return response


@bp.post("")
def create_task(user_id: str) -> Response:
    """Create a task, or with a key that has made one answer as then."""
    body = load(CREATE, read_body())
    members: dict[str, Any] = {
        "title": body["title"],
        "description": body.get("description"),
        "completed": body["completed"],
    }
    key = idempotency.read_key()
    if key is None:
        task = queries.create_task(user_id=user_id, provider_email=g.provider_email, **members)
        return created(task)
    creation = queries.create_task_once(
        key=key,
        request_hash=idempotency.hash_request(members),
        user_id=user_id,
        provider_email=g.provider_email,
        **members,
    )
    response = created(creation.task)
    if creation.is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    return response


@bp.get("")
def list_tasks(user_id: str) -> Response:
    """List a page of the tasks."""
    query = load_query(LIST)
    sort, limit = query["sort"], query["limit"]
    filters = {"completed": query["completed"], "q": query["q"]}
    scope = (user_id, sort, *filters.values())
    after = pages.read_cursor(query["cursor"], *scope)
    # One more than is shown tells whether there is a next page.
    selection = {"user_id": user_id, "after": after, "limit": limit + 1, **filters}
    if sort == "created_at":
        tasks = queries.list_tasks_oldest_first(**selection)
    else:
        tasks = queries.list_tasks(**selection)
    shown = tasks[:limit]
    link = pages.link_next(shown[-1], *scope) if len(tasks) > limit else ""
    response = tagged(shown, etags.tag_list(shown, link))
    if link:
        response.headers["Link"] = link
    return response


@bp.get("/<id>")
def get_task(user_id: str, id: str) -> Response:
    """Read one task."""
    return found(queries.get_task(user_id=user_id, id=id))


@bp.put("/<id>")
def update_task(user_id: str, id: str) -> Response:
    """Change the title and, where it is sent, the description."""
    body = load(UPDATE, read_body())
    return found(update(user_id, id, body))


@bp.patch("/<id>")
def patch_task(user_id: str, id: str) -> Response:
    """Change what is sent of title, description and completed (RFC 7396)."""
    body = read_body(MERGE_PATCH)
    if body is None:
        raise InvalidInput(NOT_AN_OBJECT)
    return found(update(user_id, id, load(PATCH, body)))


@bp.patch("/<id>/complete")
def complete_task(user_id: str, id: str) -> Response:
    """Set `completed` to what the body says, or toggle it where there is no body."""
    body = read_body()
    completed = None if body is None else load(COMPLETE, body)["completed"]
    task = queries.complete_task(
        user_id=user_id, id=id, completed=completed, versions=etags.read_versions()
    )
    return found(task)


@bp.delete("/<id>")
def delete_task(user_id: str, id: str) -> tuple[str, int]:
    """Delete a task for good."""
    if not queries.delete_task(user_id=user_id, id=id, versions=etags.read_versions()):
        raise TaskNotFound
    return "", 204


def update(user_id: str, id: str, body: dict[str, Any]) -> Task | None:
    """Write the members that a body holds, if the task is in a version that If-Match names."""
    return queries.update_task(
        user_id=user_id,
        id=id,
        title=body.get("title"),
        set_description="description" in body,
        description=body.get("description"),
        completed=body.get("completed"),
        versions=etags.read_versions(),
    )


def created(task: Task) -> Response:
    """Answer 201 with the task and where it is."""
    g.task_id = task["id"]
    response = found(task)
    response.status_code = 201
    response.headers["Location"] = url_for("tasks.get_task", user_id=task["user_id"], id=task["id"])
    return response


def found(task: Task | None) -> Response:
    """Answer with the task that a query found. Raises TaskNotFound."""
    if task is None:
        raise TaskNotFound
    return tagged(task, etags.tag_task(task))


def tagged(value: Task | list[Task], tag: str) -> Response:
    """Answer with an entity tag; without the body, 304, to a reader who has it already."""
    is_read = request.method in ("GET", "HEAD")
    response = Response(status=304) if is_read and etags.is_known(tag) else jsonify(value)
    response.set_etag(tag)
    return response
