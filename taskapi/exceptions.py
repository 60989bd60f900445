"""The exceptions that a request can end with. `web/errors.py` says how each is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

Location = str | tuple[str | int, ...]


class Fault(TypedDict):
    """One entry of a 422's `detail`."""

    loc: list[str | int]
    msg: str
    type: str


class TaskApiError(Exception):
    """The base of this module's exceptions."""


class TryAgainLater(TaskApiError):
    """The base of exceptions that say when to try again. `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class InvalidInput(TaskApiError):
    """The request is well formed, but its content can't be accepted."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults


class IdempotencyKeyReused(InvalidInput):
    """The user sent this Idempotency-Key with a different request before."""

    def __init__(self) -> None:
        message = "Was sent with another request before"
        super().__init__(fault("header", "idempotency-key", message))


class MissingToken(TaskApiError):
    """The request has no token."""


class InvalidToken(TaskApiError):
    """The token has a wrong signature or claims, or doesn't name a user."""


class TokenExpired(TaskApiError):
    """The token's `exp` has passed."""


class InvalidCredentials(TaskApiError):
    """No account has this email and password."""


class TokenRevoked(TaskApiError):
    """The token was issued before the user logged out everywhere, or closed the account."""


class AccountOfProvider(TaskApiError):
    """The account is an identity provider's, and has no password here."""


class TooManyTasks(TaskApiError):
    """The user has as many tasks as MAX_TASKS allows."""


class AccessDenied(TaskApiError):
    """The URL's user_id is not the token's."""


class TaskNotFound(TaskApiError):
    """The user has no such task."""


class TaskChanged(TaskApiError):
    """The task exists, but not in a version that the request is for. `current` is its state."""

    def __init__(self, current: Mapping[str, Any], tag: str) -> None:
        super().__init__(current["id"])
        self.current = current
        self.tag = tag


class BatchRefused(TaskApiError):
    """An operation of an atomic batch can't be done. `results` has one entry for each operation."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        super().__init__()
        self.results = results


class BatchTooLarge(TaskApiError):
    """The tasks of a batch have too much text for one response."""


class ChangesPurged(TaskApiError):
    """What has changed since a token is not known any more. `url` is the list to start again."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class EmailTaken(TaskApiError):
    """An account has this email already."""


class EmailOfAnotherUser(TaskApiError):
    """The email in an identity provider's token belongs to another account."""


class TooManyFailedLogins(TryAgainLater):
    """The client, its IPv6 block or the email has failed too often."""


class TooManySignups(TryAgainLater):
    """The client or its IPv6 block has signed up too often."""


class TooManyIdempotencyKeys(TryAgainLater):
    """The user has as many idempotency keys as the service keeps."""


class TooManyRequests(TaskApiError):
    """The user's other requests use the user's whole share of the database."""


class PasswordsBusy(TaskApiError):
    """No password hash could be computed in time: too many are being computed."""


class IdentityProviderUnavailable(TryAgainLater):
    """The identity provider's keys can't be fetched."""


class UnknownUser(TaskApiError):
    """The token is valid, but its account does not exist any more."""


class DatabaseUnavailable(TaskApiError):
    """The database can't be reached, has no free connection, or a statement hit its limit."""


class IdentityRefused(DatabaseUnavailable):
    """The database doesn't have the key that this service signs with, or their clocks differ."""


class MigrationsPending(TaskApiError):
    """Migrations of this release are not applied."""


def fault(location: Location, name: str, message: str, kind: str = "value_error") -> Fault:
    """Return an entry of a 422's `detail`.

    `location` is path, query, header or body, or the way to an object in the body.
    """
    path = (location,) if isinstance(location, str) else location
    return {"loc": [*path, name], "msg": message, "type": kind}


def missing(location: Location, name: str) -> Fault:
    """Return the entry for a required member that is absent."""
    return fault(location, name, "Field required", "value_error.missing")
