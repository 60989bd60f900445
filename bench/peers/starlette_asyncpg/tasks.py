"""A user's tasks: /api/{user_id}/tasks."""

import asyncpg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from starlette_asyncpg.models import Page, TaskCreate, TaskUpdate
from starlette_asyncpg.responses import JSON
from starlette_asyncpg.security import authorize

COLUMNS = "id, user_id, title, description, completed, created_at, updated_at"
CREATE = f"""
    INSERT INTO tasks (user_id, title, description, completed) VALUES ($1, $2, $3, $4)
    RETURNING {COLUMNS}
"""
LIST = f"""
    SELECT {COLUMNS} FROM tasks WHERE user_id = $1
    ORDER BY created_at DESC, id DESC LIMIT $2
"""
READ = f"SELECT {COLUMNS} FROM tasks WHERE id = $1 AND user_id = $2"
UPDATE = f"""
    UPDATE tasks SET title = $3, description = CASE WHEN $4 THEN $5 ELSE description END
    WHERE id = $1 AND user_id = $2
    RETURNING {COLUMNS}
"""
TOGGLE = f"""
    UPDATE tasks SET completed = NOT completed WHERE id = $1 AND user_id = $2
    RETURNING {COLUMNS}
"""
DELETE = "DELETE FROM tasks WHERE id = $1 AND user_id = $2 RETURNING id"


async def create_task(request: Request) -> Response:
    """Create a task."""
    user_id = authorize(request)
    body = TaskCreate.model_validate_json(await request.body())
    row = await request.state.pool.fetchrow(
        CREATE, user_id, body.title, body.description, body.completed
    )
    return JSON(dict(row), 201)


async def list_tasks(request: Request) -> Response:
    """List the newest tasks."""
    user_id = authorize(request)
    page = Page.model_validate(dict(request.query_params))
    rows = await request.state.pool.fetch(LIST, user_id, page.limit)
    return JSON([dict(row) for row in rows])


async def get_task(request: Request) -> Response:
    """Read one task."""
    user_id = authorize(request)
    return answer(await request.state.pool.fetchrow(READ, request.path_params["id"], user_id))


async def update_task(request: Request) -> Response:
    """Change the title and, where it is sent, the description."""
    user_id = authorize(request)
    body = TaskUpdate.model_validate_json(await request.body())
    is_given = "description" in body.model_fields_set
    row = await request.state.pool.fetchrow(
        UPDATE, request.path_params["id"], user_id, body.title, is_given, body.description
    )
    return answer(row)


async def complete_task(request: Request) -> Response:
    """Toggle `completed`."""
    user_id = authorize(request)
    return answer(await request.state.pool.fetchrow(TOGGLE, request.path_params["id"], user_id))


async def delete_task(request: Request) -> Response:
    """Delete a task for good."""
    user_id = authorize(request)
    if await request.state.pool.fetchval(DELETE, request.path_params["id"], user_id) is None:
        raise HTTPException(404, "Task not found")
    return Response(status_code=204)


def answer(row: asyncpg.Record | None) -> Response:
    """Answer with the task; 404 if there is none, or if it is another's."""
    if row is None:
        raise HTTPException(404, "Task not found")
    return JSON(dict(row))
