"""The routes of a user's tasks: /api/{user_id}/tasks."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, jsonify, request, url_for
from marshmallow import Schema
from werkzeug.routing import BaseConverter

from taskapi.accounts.authorization import authorize, with_user
from taskapi.exceptions import BatchRefused, ChangesPurged, InvalidInput, TaskNotFound, fault
from taskapi.tasks import batch, changes, etags, idempotency, pages, queries
from taskapi.tasks.etags import Task
from taskapi.tasks.schemas import (
    CompleteTaskQuerySchema,
    CompleteTaskSchema,
    CreateTaskSchema,
    ListChangesSchema,
    ListTasksSchema,
    PatchTaskSchema,
    StoredTitleSchema,
    UpdateTaskSchema,
)
from taskapi.web.payloads import (
    MAX_BATCH_BYTES,
    MERGE_PATCH,
    NOT_AN_OBJECT,
    load,
    load_query,
    read_body,
)
from taskapi.web.public_url import public_url

bp = Blueprint("tasks", __name__, url_prefix="/api/<user_id>/tasks")
bp.before_request(authorize)

CREATE = CreateTaskSchema()
LIST = ListTasksSchema()
CHANGES = ListChangesSchema()
UPDATE = UpdateTaskSchema()
PATCH = PatchTaskSchema()
COMPLETE = CompleteTaskSchema()
COMPLETE_QUERY = CompleteTaskQuerySchema()
STORED_TITLE = StoredTitleSchema()

LISTS = {"-created_at": queries.list_tasks, "created_at": queries.list_tasks_oldest_first}


class Segment(BaseConverter):
    """A part of a path, except those that stand in the place of a task's id.

    So a wrong method of theirs gets 405, not what the routes of a task say to such an id.
    """

    regex = "(?!(?:changes|batch)$)[^/]+"
    # The slash in the expression is excluded: without this, werkzeug takes it for one that matches.
    part_isolating = True


@bp.after_request
def add_accept_patch(response: Response) -> Response:
    """Name the media types of PATCH after OPTIONS and a 415 (RFC 5789)."""
    is_task = request.url_rule is not None and request.url_rule.rule == f"{bp.url_prefix}/<id>"
    if is_task and (request.method == "OPTIONS" or response.status_code == 415):
        response.headers["Accept-Patch"] = ", ".join(MERGE_PATCH)
    return response


@bp.post("")
def create_task(user_id: str) -> Response:
    """Create a task. Repeating an Idempotency-Key returns the original response."""
    body = read_body() or {}
    members = load(CREATE, body)
    key = idempotency.read_key()
    if key is None:
        return created(with_user(lambda: queries.create_task(user_id=user_id, members=members)))
    request_hash = idempotency.hash_request(body, members)
    task, is_replay = with_user(
        lambda: queries.create_task_once(
            key=key, request_hash=request_hash, user_id=user_id, members=members
        )
    )
    response = created(task)
    if is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    return response


@bp.get("")
def list_tasks(user_id: str) -> Response:
    """List tasks, a page at a time."""
    query = load_query(LIST)
    sort, limit, cursor = query.pop("sort"), query.pop("limit"), query.pop("cursor")
    scope = (user_id, sort, *query.values())
    after = pages.read_cursor(cursor, *scope)
    tasks, next = LISTS[sort](user_id=user_id, after=after, limit=limit, **query)
    link = pages.link_next(next, *scope) if next else ""
    response = tagged(tasks, etags.tag_list(tasks, link))
    if link:
        response.headers["Link"] = link
    return response


@bp.get("/changes")
def list_changes(user_id: str) -> Response:
    """List what has changed since a token, a page at a time."""
    query = load_query(CHANGES)
    since = changes.read_token(query["since"], user_id)
    page = queries.list_changes(user_id=user_id, since=since, limit=query["limit"])
    if page is None:
        raise ChangesPurged(public_url("tasks.list_tasks", user_id=user_id))
    token = changes.make_token(page.next, user_id)
    body = {"changes": page.changes, "next": token, "more": page.more}
    return tagged(body, etags.tag_changes(page.changes, token))


@bp.post("/batch")
def write_batch(user_id: str) -> dict[str, Any]:
    """Create, change and delete up to 1,000 tasks."""
    operations, atomic = batch.read_batch(read_body(max_bytes=MAX_BATCH_BYTES))
    outcomes, is_written = with_user(
        lambda: queries.write_batch(user_id=user_id, operations=operations, atomic=atomic)
    )
    results = [batch.show_result(status, task) for status, task in outcomes]
    if not is_written:
        raise BatchRefused(results)
    return {"results": results}


@bp.get("/<id>")
def get_task(user_id: str, id: str) -> Response:
    """Read one task."""
    return found(queries.get_task(user_id=user_id, id=id))


@bp.put("/<id>")
def update_task(user_id: str, id: str) -> Response:
    """Change the title and, if it is sent, the description, or create a task with this id."""
    if etags.is_creation():
        members = load(CREATE, read_body())
        return created(with_user(lambda: queries.put_task(user_id=user_id, id=id, members=members)))
    return change_task(user_id, id, UPDATE, read_body() or {})


@bp.patch("/<id>")
def patch_task(user_id: str, id: str) -> Response:
    """Change the members that are sent (JSON Merge Patch, RFC 7396)."""
    body = read_body(MERGE_PATCH)
    if body is None:
        raise InvalidInput(NOT_AN_OBJECT)
    return change_task(user_id, id, PATCH, body)


@bp.patch("/<id>/complete")
def complete_task(user_id: str, id: str) -> Response:
    """Complete or reopen a task, as the body or the query says. Toggle it if neither does."""
    body, query = read_body(), load_query(COMPLETE_QUERY)
    completed = None
    if body is not None or query:
        completed = load(COMPLETE, query | (body or {}))["completed"]
        if query.get("completed", completed) != completed:
            raise InvalidInput(fault("query", "completed", "Must be the body's value"))
    versions = etags.read_versions()
    return found(
        queries.complete_task(user_id=user_id, id=id, completed=completed, versions=versions)
    )


@bp.delete("/<id>")
def delete_task(user_id: str, id: str) -> tuple[str, int]:
    """Delete a task permanently."""
    if not queries.delete_task(user_id=user_id, id=id, versions=etags.read_versions()):
        raise TaskNotFound
    return "", 204


def change_task(user_id: str, id: str, schema: Schema, body: dict[str, Any]) -> Response:
    """Change the members that the body has, and return the response for the task.

    A title that the schema refuses may be sent back to a task that has it from an earlier release.
    """
    refusal = None
    try:
        changes = load(schema, body)
    except InvalidInput as error:
        refusal = error
        changes = load_with_stored_title(schema, body, refusal)
    task = queries.update_task(
        user_id=user_id,
        id=id,
        changes=changes,
        keep_title=refusal is not None,
        versions=etags.read_versions(),
    )
    if task is None and refusal is not None:
        raise refusal
    return found(task)


def load_with_stored_title(
    schema: Schema, body: dict[str, Any], refusal: InvalidInput
) -> dict[str, Any]:
    """Return the checked members of a body that only its title may keep from being accepted.

    Raises `refusal` if there is another reason.
    """
    try:
        title = load(STORED_TITLE, body)
        return load(schema, body | {"title": "accepted"}) | title
    except InvalidInput:
        raise refusal from None


def created(task: Task) -> Response:
    """Return the 201 for a new task, with its Location."""
    g.task_id = task["id"]
    response = found(task)
    response.status_code = 201
    response.headers["Location"] = url_for("tasks.get_task", user_id=task["user_id"], id=task["id"])
    return response


def found(task: Task | None) -> Response:
    """Return the response for a task. Raises TaskNotFound for None."""
    if task is None:
        raise TaskNotFound
    return tagged(task, etags.tag_task(task))


def tagged(value: Task | list[Task], tag: str) -> Response:
    """Return a response with an ETag: 304 without a body if the client's If-None-Match has it."""
    is_read = request.method in ("GET", "HEAD")
    response = Response(status=304) if is_read and etags.is_known(tag) else jsonify(value)
    response.set_etag(tag)
    return response
