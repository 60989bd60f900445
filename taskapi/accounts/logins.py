"""Logging in: counting failures, checking the password, renewing outdated hashes."""

from __future__ import annotations

import logging

from taskapi.accounts import queries
from taskapi.accounts.passwords import hash_password, is_outdated, verify_password
from taskapi.accounts.queries import User
from taskapi.exceptions import InvalidCredentials, TaskApiError, TooManyFailedLogins
from taskapi.web.addresses import client_block, client_network

logger = logging.getLogger("taskapi")


def check_credentials(email: str, password: str) -> User:
    """Return the account with this email and password.

    An attempt counts as failed until its password is known to be right, so that of many attempts
    at once no more are checked than may fail. Raises InvalidCredentials, TooManyFailedLogins and
    PasswordsBusy.
    """
    client, block = client_network(), client_block()
    attempt = queries.register_login_attempt(email=email, client=client, block=block)
    failed = False
    try:
        if attempt["retry_after"] is not None:
            raise TooManyFailedLogins(attempt["retry_after"])
        failed = not verify_password(attempt["password_hash"], password)
    finally:
        if not failed and attempt["tried_at"] is not None:
            _take_back(email, client, block, attempt["tried_at"])
    if failed or attempt["id"] is None or attempt["email"] is None:
        raise InvalidCredentials
    _renew_hash(email, attempt["password_hash"] or "", password)
    return {"id": attempt["id"], "email": attempt["email"]}


def _take_back(email: str, client: str, block: str | None, tried_at: str) -> None:
    try:
        queries.take_back_login_attempt(email=email, client=client, block=block, tried_at=tried_at)
    except TaskApiError as error:
        logger.warning("A successful login counts as failed for a minute: %s", error)


def _renew_hash(email: str, old_hash: str, password: str) -> None:
    """Replace a hash that was made with other parameters, now that the password is known."""
    if not is_outdated(old_hash):
        return
    try:
        queries.update_password_hash(
            email=email, old_hash=old_hash, new_hash=hash_password(password)
        )
    except Exception as error:
        # The login succeeds all the same. The class only: a message may quote the row.
        logger.warning("An outdated password hash was not renewed: %s", type(error).__name__)
