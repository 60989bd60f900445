"""Logging in: counting failures, checking the password, renewing outdated hashes."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import NamedTuple

from taskapi.accounts import queries
from taskapi.accounts.passwords import hash_password, is_outdated, verify_password
from taskapi.accounts.queries import User
from taskapi.exceptions import InvalidCredentials, TaskApiError, TooManyFailedLogins
from taskapi.web.addresses import client_block, client_network

logger = logging.getLogger("taskapi")


class Credentials(NamedTuple):
    """An account whose password is known, its hash, and when it was checked, as Unix time."""

    user: User
    password_hash: str
    checked_at: float


def log_in(email: str, password: str) -> Credentials:
    """Return the account with this email and password, and renew an outdated hash.

    Raises as `check_credentials` does.
    """
    credentials = check_credentials(email, password)
    _renew_hash(email, credentials.password_hash, password)
    return credentials


def check_credentials(email: str, password: str) -> Credentials:
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
    id, email, tried_at = attempt["id"], attempt["email"] or "", attempt["tried_at"]
    if failed or id is None or tried_at is None:
        raise InvalidCredentials
    checked_at = datetime.fromisoformat(tried_at).timestamp()
    return Credentials({"id": id, "email": email}, attempt["password_hash"] or "", checked_at)


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
