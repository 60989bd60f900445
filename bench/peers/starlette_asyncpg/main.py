"""The application: `uvicorn starlette_asyncpg.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from starlette_asyncpg import accounts, tasks
from starlette_asyncpg.database import make_pool
from starlette_asyncpg.responses import EXCEPTION_HANDLERS, JSON


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, asyncpg.Pool]]:
    """Lend requests the pool as `request.state.pool`."""
    async with make_pool() as pool:
        yield {"pool": pool}


async def health(_request: Request) -> Response:
    """Tell that the process lives."""
    return JSON({"status": "ok"})


TASKS = "/api/{user_id:uuid}/tasks"
TASK = f"{TASKS}/{{id:uuid}}"

app = Starlette(
    routes=[
        Route("/health", health),
        Route("/api/auth/signup", accounts.sign_up, methods=["POST"]),
        Route("/api/auth/login", accounts.log_in, methods=["POST"]),
        Route(TASKS, tasks.create_task, methods=["POST"]),
        Route(TASKS, tasks.list_tasks, methods=["GET"]),
        Route(TASK, tasks.get_task, methods=["GET"]),
        Route(TASK, tasks.update_task, methods=["PUT"]),
        Route(TASK, tasks.delete_task, methods=["DELETE"]),
        Route(f"{TASK}/complete", tasks.complete_task, methods=["PATCH"]),
    ],
    exception_handlers=EXCEPTION_HANDLERS,
    lifespan=lifespan,
)
