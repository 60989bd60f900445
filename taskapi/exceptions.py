"""The exceptions of this project. `errors.py` alone knows what each is in HTTP."""

from __future__ import annotations

from typing import TypedDict


class Fault(TypedDict):
    """One thing that is wrong with a request."""

    loc: list[str]
    msg: str
    type: str


class TaskApiError(Exception):
    """The base of all exceptions of this project that a request can end with."""


class InvalidInput(TaskApiError):
    """What the client sent is well formed but can't be accepted."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults


class IdempotencyKeyReused(InvalidInput):
    """The user has sent this key with another request before."""

    def __init__(self) -> None:
        message = "Was sent with another request before"
        super().__init__(fault("header", "idempotency-key", message))


class MissingToken(TaskApiError):
    """The request bears no token."""


class InvalidToken(TaskApiError):
    """The token isn't ours, is broken, or names nobody."""


class TokenExpired(TaskApiError):
    """The token was good until its `exp`."""


class InvalidCredentials(TaskApiError):
    """No account has this address and this password."""


class AccessDenied(TaskApiError):
    """The URL names another user than the token."""


class TaskNotFound(TaskApiError):
    """The user has no such task."""


class TaskChanged(TaskApiError):
    """The task is there, but not in a version that the client's If-Match names."""


class EmailTaken(TaskApiError):
    """An account has this address already."""


class EmailOfAnotherUser(TaskApiError):
    """The address that the identity provider vouches for is another account's."""


class TooManyFailedLogins(TaskApiError):
    """The client or the address has failed too often; over in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class PasswordsBusy(TaskApiError):
    """All that may work on passwords at once do, and none was through in time."""


class IdentityProviderUnavailable(TaskApiError):
    """The identity provider's keys can't be fetched, and this token's isn't known."""


class UnknownUser(TaskApiError):
    """The account is gone, though a token for it may still be good."""


class DatabaseUnavailable(TaskApiError):
    """The database can't be reached, has no connection free, or gave up on a statement."""


class MigrationsPending(TaskApiError):
    """The database lacks migrations of this release."""


def fault(location: str, name: str, message: str, kind: str = "value_error") -> Fault:
    """Return one entry of a 422's `detail`; `location` is where it came, such as `body`."""
    return {"loc": [location, name], "msg": message, "type": kind}


def missing(location: str, name: str) -> Fault:
    """Return the entry for a member that had to be there."""
    return fault(location, name, "Field required", "value_error.missing")
