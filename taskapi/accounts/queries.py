"""Accounts and logins in the database: each function runs the file of its name in sql/accounts/."""

from __future__ import annotations

from typing import TypedDict

from psycopg import errors

from taskapi.database import pool
from taskapi.database.pool import Violation
from taskapi.exceptions import EmailTaken

EMAIL_TAKEN = Violation(errors.UniqueViolation, "users_email_key", EmailTaken)


class User(TypedDict):
    """What a client may know of an account."""

    id: str
    email: str


class Account(User):
    """What an account's owner may know of it. `tasks` is their number."""

    created_at: str
    tasks: int


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
        .write("create_user", EMAIL_TAKEN, password_hash=password_hash)
    )
    return user


def create_provider_user(*, user_id: str, provider_email: str) -> None:
    """Create the account of an identity provider's user, unless it or one with its email exists."""
    pool.current().as_user(user_id).write("create_provider_user", provider_email=provider_email)


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


def get_account(*, user_id: str) -> Account | None:
    """Return the token's account, or None if there is none (yet)."""
    rows: list[Account] = pool.current().as_user(user_id).read("get_account")
    return rows[0] if rows else None


def find_account(*, email: str) -> User | None:
    """Return the account with this email, whatever its case, or None."""
    rows: list[User] = pool.current().as_login(email).read("find_account")
    return rows[0] if rows else None


def revoke_tokens(*, user_id: str) -> None:
    """Make all tokens invalid that were issued to the user until now."""
    pool.current().as_user(user_id).write("revoke_tokens")


def change_password(*, email: str, old_hash: str | None, new_hash: str) -> float | None:
    """Replace the password's hash, and make all tokens invalid that were issued until now.

    Returns the Unix time that a valid token has at least, or None if the hash is not `old_hash`
    (None: any), or the account has no password.
    """
    rows = (
        pool.current()
        .as_login(email)
        .write("change_password", old_hash=old_hash, new_hash=new_hash)
    )
    issued_at: float | None = rows[0]["issued_at"] if rows else None
    return issued_at


def close_account(*, id: str, email: str, old_hash: str | None) -> bool:
    """Close the account at once; the purge deletes it.

    Returns False if its hash is not `old_hash` (None: any).
    """
    rows = pool.current().as_login(email, id).write("close_account", old_hash=old_hash)
    return bool(rows)
