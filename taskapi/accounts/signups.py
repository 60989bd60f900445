"""Signing up: a limit for each client, then the hash of the password, then the account."""

from __future__ import annotations

from taskapi import config
from taskapi.accounts import queries
from taskapi.accounts.passwords import hash_password
from taskapi.accounts.queries import User
from taskapi.exceptions import TooManySignups
from taskapi.web.addresses import client_block, client_network

# How often all clients of an IPv6 block may sign up, for each time that one client may.
BLOCK_FACTOR = 3


def create_account(email: str, password: str) -> User:
    """Create an account and return it.

    A sign-up counts for its client before its password is hashed, whatever comes of it, because
    the hash is what a flood of sign-ups would cost. Raises TooManySignups, PasswordsBusy and
    EmailTaken.
    """
    per_minute = config.current().signups_per_minute
    retry_after = queries.register_signup(
        email=email,
        client=client_network(),
        block=client_block(),
        per_client=per_minute,
        per_block=BLOCK_FACTOR * per_minute,
    )
    if retry_after is not None:
        raise TooManySignups(retry_after)
    return queries.create_user(email=email, password_hash=hash_password(password))
