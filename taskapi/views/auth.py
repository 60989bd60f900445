"""Accounts: /api/auth/signup and /api/auth/login."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from taskapi import config, queries
from taskapi.logins import check_credentials
from taskapi.passwords import hash_password
from taskapi.schemas import LoginSchema, SignupSchema, load, read_body
from taskapi.tokens import issue_token

bp = Blueprint("auth", __name__, url_prefix="/api/auth")

SIGNUP = SignupSchema()
LOGIN = LoginSchema()


@bp.post("/signup")
def sign_up() -> tuple[dict[str, Any], int]:
    """Create an account."""
    body = load(SIGNUP, read_body())
    user = queries.create_user(email=body["email"], password_hash=hash_password(body["password"]))
    g.user_id = user["id"]
    return {"user_id": user["id"], "email": user["email"]}, 201


@bp.post("/login")
def log_in() -> dict[str, Any]:
    """Exchange credentials for a token."""
    body = load(LOGIN, read_body())
    user = check_credentials(body["email"], body["password"])
    g.user_id = user["id"]
    return {
        "user_id": user["id"],
        "email": user["email"],
        "token": issue_token(user),
        "token_type": "Bearer",
        "expires_in": config.current().jwt_expires_seconds,
    }
