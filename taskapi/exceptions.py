"""The exceptions that a request can end with. `web/errors.py` says how each is answered."""

from __future__ import annotations

from typing import TypedDict


class Fault(TypedDict):
    """One entry of a 422's `detail`."""

    loc: list[str]
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


class AccessDenied(TaskApiError):
    """The URL's user_id is not the token's."""


class TaskNotFound(TaskApiError):
    """The user has no such task."""


class TaskChanged(TaskApiError):
    """The task exists, but no ETag in If-Match is its version."""


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


class MigrationsPending(TaskApiError):
    """Migrations of this release are not applied."""


def fault(location: str, name: str, message: str, kind: str = "value_error") -> Fault:
    """Return an entry of a 422's `detail`. `location` is path, query, header or body."""
    return {"loc": [location, name], "msg": message, "type": kind}


def missing(location: str, name: str) -> Fault:
    """Return the entry for a required member that is absent."""
    return fault(location, name, "Field required", "value_error.missing")
