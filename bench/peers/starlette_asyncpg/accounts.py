"""Accounts: /api/auth/signup and /api/auth/login."""

import asyncpg
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from starlette_asyncpg.models import Login, Signup
from starlette_asyncpg.responses import JSON
from starlette_asyncpg.security import hasher, issue_token, unauthorized, verify_password
from starlette_asyncpg.settings import JWT_EXPIRES_SECONDS

INSERT = "INSERT INTO users (email, password_hash) VALUES ($1, $2) RETURNING id"
FIND = "SELECT id, email, password_hash FROM users WHERE lower(email) = lower($1)"


async def sign_up(request: Request) -> Response:
    """Create an account."""
    body = Signup.model_validate_json(await request.body())
    # In a thread: 20 ms of Argon2 would hold up every other request of the worker.
    password_hash = await run_in_threadpool(hasher.hash, body.password)
    try:
        user_id = await request.state.pool.fetchval(INSERT, body.email, password_hash)
    except asyncpg.UniqueViolationError:
        raise HTTPException(409, "Email already registered") from None
    return JSON({"user_id": user_id, "email": body.email}, 201)


async def log_in(request: Request) -> Response:
    """Exchange credentials for a token."""
    body = Login.model_validate_json(await request.body())
    user = await request.state.pool.fetchrow(FIND, body.email)
    password_hash = user["password_hash"] if user else None
    if not await run_in_threadpool(verify_password, password_hash, body.password):
        raise unauthorized("Invalid credentials")
    return JSON(
        {
            "user_id": user["id"],
            "email": user["email"],
            "token": issue_token(str(user["id"]), user["email"]),
            "token_type": "Bearer",
            "expires_in": JWT_EXPIRES_SECONDS,
        }
    )
