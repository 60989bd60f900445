"""Password hashes: Argon2id with the parameters that OWASP recommends."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore, Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from taskapi import config
from taskapi.exceptions import PasswordsBusy
from taskapi.web.addresses import client_network

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
    slots, queue = _limits(config.current().web_concurrency)
    with queue.take(client_network()):
        if not slots.acquire(timeout=MAX_WAIT):
            raise PasswordsBusy(f"no slot was free within {MAX_WAIT} s")
        try:
            yield
        finally:
            slots.release()


class _Queue:
    """The requests that compute a hash or wait to do so, at most half of them of one client."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._clients: Counter[str] = Counter()
        self._lock = Lock()

    @contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Hold a place for a client while the block runs. Raises PasswordsBusy."""
        with self._lock:
            if self._clients.total() >= self._size or self._clients[client] >= self._size // 2:
                raise PasswordsBusy("too many requests wait for a slot")
            self._clients[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self._clients -= Counter((client,))


@cache
def _limits(workers: int) -> tuple[BoundedSemaphore, _Queue]:
    """Return this worker's slots, and its queue for them.

    All workers together have a slot for each core. More hashes at once would not be faster; each
    takes 19 MiB and 20 ms of a core.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    slots = max(1, (cores or 1) // workers)
    return BoundedSemaphore(slots), _Queue(slots * QUEUE)
