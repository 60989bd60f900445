"""Which of a worker's requests may use the database now: a share for each user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from taskapi.exceptions import DatabaseUnavailable, TooManyRequests

# Seconds that a request waits for another request of its user to finish.
PATIENCE = 0.5
# Seconds that a worker's last thread waits for another one to finish with the database. Longer than
# a busy database takes to finish one of several statements; in an outage it is spent once.
STALL = 0.5
# Seconds of recent use, with a half-life of one second. A user with more does not wait for a place
# but is refused at once, because waiting would take a thread from others.
HEAVY_USE = 0.5
# Users that are remembered before those without recent use are forgotten.
MAX_IDLE_USERS = 1000


class _Share:
    """One user's use of the database."""

    def __init__(self) -> None:
        self.places = 0
        self._seconds = 0.0
        self._at = time.monotonic()

    def recent_use(self) -> float:
        """Return the seconds used lately, each halved for every second since."""
        return float(self._seconds * 0.5 ** (time.monotonic() - self._at))

    def add(self, seconds: float) -> None:
        """Count the seconds that a statement took."""
        self._seconds = self.recent_use() + seconds
        self._at = time.monotonic()


class Places:
    """Places in the database for the threads of one worker.

    `total` is one less than the worker's threads, so that one is always free for requests that need
    no database. At most `share` places are one user's at a time, so that no user can hold them all.
    """

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._changed = Condition()
        # Threads that have a place, or wait for another request of their user.
        self._inside = 0
        self._users: dict[str, _Share] = {}
        self._is_stuck = False

    @contextmanager
    def take(self, user: str) -> Iterator[None]:
        """Hold a place for a user while the block runs; an empty `user` has no share.

        Raises DatabaseUnavailable if all threads but this one are waiting, and TooManyRequests if
        the user's share stays in use.
        """
        with self._changed:
            self._enter()
            try:
                share = self._users.setdefault(user, _Share())
                self._wait_for_share(user, share)
            except BaseException:
                self._leave()
                raise
            share.places += 1
        started = time.monotonic()
        try:
            yield
            self._is_stuck = False
        finally:
            with self._changed:
                share.places -= 1
                share.add(time.monotonic() - started)
                self._leave()

    def _enter(self) -> None:
        stall = 0 if self._is_stuck else STALL
        if not self._changed.wait_for(lambda: self._inside < self._total, stall):
            self._is_stuck = True
            raise DatabaseUnavailable("all threads but one wait for it")
        self._inside += 1

    def _wait_for_share(self, user: str, share: _Share) -> None:
        if not user or share.places < self._share:
            return
        patience = PATIENCE if share.recent_use() < HEAVY_USE else 0
        if not self._changed.wait_for(lambda: share.places < self._share, patience):
            raise TooManyRequests

    def _leave(self) -> None:
        self._inside -= 1
        self._changed.notify_all()
        if len(self._users) > MAX_IDLE_USERS:
            self._users = {
                user: share
                for user, share in self._users.items()
                if share.places or share.recent_use() > 0.01
            }
