"""Which user a request acts for: the check that every blueprint of a user's data registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import g, request

from taskapi.accounts import queries
from taskapi.accounts.tokens import Identity, verify_token
from taskapi.exceptions import (
    AccessDenied,
    EmailOfAnotherUser,
    InvalidInput,
    MissingToken,
    UnknownUser,
    fault,
)
from taskapi.web.uuids import parse_uuid

Result = TypeVar("Result")

# In place of the path's `user_id`: the token's user.
ME = "me"


def authenticate() -> Identity:
    """Return the user of the request's token, who is noted in `g` for the queries and the log.

    Raises MissingToken, InvalidToken, TokenExpired or IdentityProviderUnavailable. Whether the
    token was revoked, PostgreSQL says along with the first statement.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken
    identity = verify_token(token.strip())
    g.user_id, g.provider_email, g.issued_at = identity
    return identity


def authorize() -> None:
    """Let a request pass only if its token is valid and names the URL's user, or the URL says `me`.

    A `before_request` of blueprints whose paths have `<user_id>`. The views get the token's user
    as `user_id`, and all UUIDs of the path in lower case. Raises, in this order: MissingToken,
    InvalidToken, TokenExpired or IdentityProviderUnavailable; InvalidInput for a path that is not
    a UUID; AccessDenied.
    """
    if request.method == "OPTIONS":  # a browser's preflight has no token
        return
    identity = authenticate()
    given = request.view_args or {}
    path = {name: parse_uuid(value) for name, value in given.items()}
    if given.get("user_id") == ME:
        path["user_id"] = identity.user_id
    # For the log, also where the request is refused below.
    g.task_id = path.get("id")
    malformed = [name for name, value in path.items() if value is None]
    if malformed:
        raise InvalidInput(*(fault("path", name, "Must be a UUID") for name in malformed))
    if path["user_id"] != identity.user_id:
        raise AccessDenied
    request.view_args = path


def with_user(write: Callable[[], Result]) -> Result:
    """Return what a write returns; without it an identity provider's user would not exist.

    The user is created with the first task, when the write has found that there is none. Raises
    UnknownUser if the account is gone, EmailOfAnotherUser, and what the write raises.
    """
    try:
        return write()
    except UnknownUser:
        if g.provider_email is None:
            raise
    queries.create_provider_user(user_id=g.user_id, provider_email=g.provider_email)
    try:
        return write()
    except UnknownUser as error:
        raise EmailOfAnotherUser from error
