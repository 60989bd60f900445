"""Accounts and logins in the database: each function runs the file of its name in sql/accounts/."""

from __future__ import annotations

from typing import TypedDict

from taskapi.database import pool
from taskapi.exceptions import EmailTaken


class User(TypedDict):
    """What a client may know of an account."""

    id: str
    email: str


class LoginAttempt(TypedDict):
    """A login attempt: when it was counted, if it was, and the account of its email, if any."""

    tried_at: str | None
    retry_after: int | None
    id: str | None
    email: str | None
    password_hash: str | None


def create_user(*, email: str, password_hash: str) -> User:
    """Create an account. Raises EmailTaken."""
    user: User
    [user] = (
        pool.current()
        .as_login(email)
        .write("create_user", {"users_email_key": EmailTaken}, password_hash=password_hash)
    )
    return user


def register_login_attempt(*, email: str, client: str, block: str | None) -> LoginAttempt:
    """Count a login attempt and return the account with this email, whatever its case.

    `retry_after` is None, or for how many seconds the client, its IPv6 block or the email has
    failed too often.
    """
    attempt: LoginAttempt
    [attempt] = (
        pool.current().as_login(email).write("register_login_attempt", client=client, block=block)
    )
    return attempt


def register_signup(
    *, email: str, client: str, block: str | None, per_client: int, per_block: int
) -> int | None:
    """Count a sign-up. Return None, or for how many seconds the client may not sign up."""
    [row] = (
        pool.current()
        .as_login(email)
        .write(
            "register_signup",
            client=client,
            block=block,
            per_client=per_client,
            per_block=per_block,
        )
    )
    retry_after: int | None = row["retry_after"]
    return retry_after


def take_back_login_attempt(*, email: str, client: str, block: str | None, tried_at: str) -> None:
    """Stop counting a login attempt that did not fail."""
    pool.current().as_login(email).write(
        "take_back_login_attempt", client=client, block=block, tried_at=tried_at
    )


def update_password_hash(*, email: str, old_hash: str, new_hash: str) -> bool:
    """Replace the hash of an unchanged password. Returns False if it has changed."""
    rows = (
        pool.current()
        .as_login(email)
        .write("update_password_hash", old_hash=old_hash, new_hash=new_hash)
    )
    return bool(rows)
