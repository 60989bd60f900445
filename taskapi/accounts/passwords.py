"""Password hashes: Argon2id with the parameters that OWASP recommends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from taskapi import config
from taskapi.exceptions import PasswordsBusy

# Seconds that a request waits for a slot.
MAX_WAIT = 2.0
# Requests that may compute a hash or wait for it, per slot. Others get a 503 at once, so that
# a flood of logins leaves threads for other requests.
QUEUE = 6

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# Checked if there is no account, so that an unknown email takes as long as a wrong password.
_UNKNOWN = HASHER.hash("no account has this password")


def hash_password(password: str) -> str:
    """Return a salted Argon2id hash in its standard encoding. Raises PasswordsBusy."""
    with _slot():
        return HASHER.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether the password matches. Without a hash it does not, after the same work.

    Raises PasswordsBusy.
    """
    with _slot():
        try:
            HASHER.verify(password_hash or _UNKNOWN, password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Tell whether a hash was made with other parameters than the current ones."""
    return HASHER.check_needs_rehash(password_hash)


@contextmanager
def _slot() -> Iterator[None]:
    running, queue = _semaphores(config.current().web_concurrency)
    if not queue.acquire(blocking=False):
        raise PasswordsBusy(f"{QUEUE} requests wait for each slot")
    try:
        if not running.acquire(timeout=MAX_WAIT):
            raise PasswordsBusy(f"no slot was free within {MAX_WAIT} s")
        try:
            yield
        finally:
            running.release()
    finally:
        queue.release()


@cache
def _semaphores(workers: int) -> tuple[BoundedSemaphore, BoundedSemaphore]:
    """Return this worker's slots, and its places in the queue for them.

    All workers together have a slot for each core. More hashes at once would not be faster; each
    takes 19 MiB and 20 ms of a core.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    slots = max(1, (cores or 1) // workers)
    return BoundedSemaphore(slots), BoundedSemaphore(slots * QUEUE)
