"""Password hashes: Argon2id with the parameters that OWASP recommends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from taskapi.exceptions import PasswordsBusy

# Seconds. One core computes about fifty hashes in less. A request that waits longer gets a 503.
MAX_WAIT = 2.0

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# Checked if there is no account, so that an unknown email takes as long as a wrong password.
_UNKNOWN = _hasher.hash("no account has this password")

# More hashes at once than cores would not be faster, and each takes 19 MiB.
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
_slots = BoundedSemaphore(_CORES or 1)


def hash_password(password: str) -> str:
    """Return a salted Argon2id hash in its standard encoding. Raises PasswordsBusy."""
    with _slot():
        return _hasher.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether the password matches. Without a hash it does not, after the same work.

    Raises PasswordsBusy.
    """
    with _slot():
        try:
            _hasher.verify(password_hash or _UNKNOWN, password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Tell whether a hash was made with other parameters than the current ones."""
    return _hasher.check_needs_rehash(password_hash)


@contextmanager
def _slot() -> Iterator[None]:
    if not _slots.acquire(timeout=MAX_WAIT):
        raise PasswordsBusy(f"none was free within {MAX_WAIT} s")
    try:
        yield
    finally:
        _slots.release()
