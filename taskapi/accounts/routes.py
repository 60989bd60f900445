"""The routes of accounts: /api/auth."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request

from taskapi import config
from taskapi.accounts import logins, queries
from taskapi.accounts.authorization import authenticate
from taskapi.accounts.passwords import hash_password
from taskapi.accounts.queries import Account, User
from taskapi.accounts.schemas import (
    ChangePasswordSchema,
    CloseAccountSchema,
    LoginSchema,
    SignupSchema,
)
from taskapi.accounts.signups import create_account
from taskapi.accounts.tokens import issue_token
from taskapi.exceptions import AccountOfProvider, InvalidCredentials, UnknownUser
from taskapi.web.payloads import load, read_body

bp = Blueprint("auth", __name__, url_prefix="/api/auth")
# Those that need a token.
account_bp = Blueprint("account", __name__, url_prefix="/api/auth")

SIGNUP = SignupSchema()
LOGIN = LoginSchema()
CHANGE_PASSWORD = ChangePasswordSchema()
CLOSE_ACCOUNT = CloseAccountSchema()


@account_bp.before_request
def require_token() -> None:
    """Let a request pass only if its token is valid."""
    if request.method != "OPTIONS":  # a browser's preflight has no token
        authenticate()


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
    user, _, checked_at = logins.log_in(body["email"], body["password"])
    g.user_id = user["id"]
    return show_login(user, checked_at)


@account_bp.get("/account")
def show_account() -> dict[str, Any]:
    """Show the token's account."""
    account = find_account()
    return {
        "user_id": account["id"],
        "email": account["email"],
        "created_at": account["created_at"],
        "tasks": account["tasks"],
    }


@account_bp.put("/password")
def change_password() -> dict[str, Any]:
    """Change the password, revoke every earlier token, and return a new one."""
    body = load(CHANGE_PASSWORD, read_body())
    user, old_hash, _ = check_password(body["password"])
    new_hash = hash_password(body["new_password"])
    issued_at = queries.change_password(email=user["email"], old_hash=old_hash, new_hash=new_hash)
    if issued_at is None:
        raise InvalidCredentials
    return show_login(user, issued_at)


@account_bp.delete("/tokens")
def revoke_tokens() -> tuple[str, int]:
    """Log out everywhere: no token that was issued until now is valid any more."""
    queries.revoke_tokens(user_id=g.user_id)
    return "", 204


@account_bp.delete("/account")
def close_account() -> tuple[str, int]:
    """Delete the account and all of its tasks."""
    body = load(CLOSE_ACCOUNT, read_body())
    user, old_hash, _ = check_password(body["password"])
    if not queries.close_account(id=user["id"], email=user["email"], old_hash=old_hash):
        raise InvalidCredentials
    return "", 204


def find_account() -> Account:
    """Return the token's account. Raises UnknownUser, also before a provider's user has a task."""
    account = queries.get_account(user_id=g.user_id)
    if account is None:
        raise UnknownUser
    return account


def check_password(password: str) -> logins.Credentials:
    """Check the password of the token's account. A wrong one counts as a failed login.

    Raises as `logins.check_credentials` does, and AccountOfProvider.
    """
    if g.provider_email is not None:
        raise AccountOfProvider
    return logins.check_credentials(find_account()["email"], password)


def show_login(user: User, issued_at: float) -> dict[str, Any]:
    """Return the response with a new token."""
    token = issue_token(user, issued_at)
    return {
        "user_id": user["id"],
        "email": user["email"],
        "token": token,
        # The same, where OAuth's clients look for it (RFC 6749, 5.1).
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": config.current().jwt_expires_seconds,
    }
