"""Logging in: the count of failures, the password, and what a success changes."""

from __future__ import annotations

import logging

from taskapi import queries
from taskapi.clients import client_network
from taskapi.exceptions import InvalidCredentials, TaskApiError, TooManyFailedLogins
from taskapi.passwords import hash_password, is_outdated, verify_password
from taskapi.queries import User

logger = logging.getLogger("taskapi")


def check_credentials(email: str, password: str) -> User:
    """Return the account with this address and this password.

    A try counts as a failure until it is known to be none: of many at once, no more are checked
    than may fail. Raises InvalidCredentials, TooManyFailedLogins and PasswordsBusy.
    """
    client = client_network()
    attempt = queries.register_login_attempt(email=email, client=client)
    failed = False
    try:
        if attempt["retry_after"] is not None:
            raise TooManyFailedLogins(attempt["retry_after"])
        failed = not verify_password(attempt["password_hash"], password)
    finally:
        if not failed and attempt["tried_at"] is not None:
            _take_back(email, client, attempt["tried_at"])
    if failed or attempt["id"] is None or attempt["email"] is None:
        raise InvalidCredentials
    _renew_hash(email, attempt["password_hash"] or "", password)
    return {"id": attempt["id"], "email": attempt["email"]}


def _take_back(email: str, client: str, tried_at: str) -> None:
    try:
        queries.take_back_login_attempt(email=email, client=client, tried_at=tried_at)
    except TaskApiError as error:
        logger.warning("A try to log in counts as failed for a minute, though it isn't: %s", error)


def _renew_hash(email: str, old_hash: str, password: str) -> None:
    """Replace a hash that was made with other parameters, now that its password is at hand."""
    if not is_outdated(old_hash):
        return
    try:
        queries.update_password_hash(
            email=email, old_hash=old_hash, new_hash=hash_password(password)
        )
    except Exception as error:
        # Whatever it is, the user has proved who it is. By its name: a message may quote the row.
        logger.warning("A password's hash is still outdated: %s", type(error).__name__)
