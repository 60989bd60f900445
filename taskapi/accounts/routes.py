"""The routes of accounts: /api/auth."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from taskapi import config
from taskapi.accounts.logins import check_credentials
from taskapi.accounts.schemas import LoginSchema, SignupSchema
from taskapi.accounts.signups import create_account
from taskapi.accounts.tokens import issue_token
from taskapi.web.payloads import load, read_body

bp = Blueprint("auth", __name__, url_prefix="/api/auth")

SIGNUP = SignupSchema()
LOGIN = LoginSchema()


@bp.post("/signup")
def sign_up() -> tuple[dict[str, Any], int]:
    """Create an account."""
    body = load(SIGNUP, read_body())
    user = create_account(body["email"], body["password"])
    g.user_id = user["id"]
    return {"user_id": user["id"], "email": user["email"]}, 201


@bp.post("/login")
def log_in() -> dict[str, Any]:
    """Exchange an email and password for a token."""
    body = load(LOGIN, read_body())
    user = check_credentials(body["email"], body["password"])
    g.user_id = user["id"]
    token = issue_token(user)
    return {
        "user_id": user["id"],
        "email": user["email"],
        "token": token,
        # The same, where OAuth's clients look for it (RFC 6749, 5.1).
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": config.current().jwt_expires_seconds,
    }
