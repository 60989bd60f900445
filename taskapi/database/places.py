"""Which of a worker's requests may use the database now: a share for each user.

The share binds only while others need places too: a user who is alone may have all but one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from taskapi.exceptions import DatabaseUnavailable, TooManyRequests

# Seconds that a request waits for another request of its user to finish, while there are others.
PATIENCE = 0.5
# Seconds without a request of another user, after which a user is alone.
ALONE = 1.0
# Seconds that a worker's last thread waits for another one to finish with the database. Longer than
# a busy database takes to finish one of several statements; in an outage it is spent once.
STALL = 0.5
# The same for a user who is alone and has all other threads: seconds since one was free.
OWN_STALL = 2.0
# Seconds of threads that a user's requests may use beyond one thread all the time, running and
# waiting, while other users send requests. After them the user has half the share, and no request
# waits for it: a burst is served, and a flood leaves the other threads to others.
ALLOWANCE = 1.0
# Seconds. While a statement of the user takes longer, no request waits for a place.
LONG = 0.15
# How many users are remembered at least, before those without recent statements are forgotten.
REMEMBERED = 1000


class _Share:
    """One user's use of the database."""

    def __init__(self) -> None:
        # When each statement under way began.
        self.started: list[float] = []
        self._used = 0.0
        self._at = time.monotonic()

    @property
    def used(self) -> float:
        """The seconds of threads that the user has used lately, beyond one thread all the time."""
        now = time.monotonic()
        under_way = sum(now - started for started in self.started)
        return max(0.0, self._used + under_way - (now - self._at))

    @property
    def is_recent(self) -> bool:
        """Whether there is something to remember."""
        return bool(self.started) or self.used > 0

    @property
    def latest_event(self) -> float:
        """When its oldest statement under way began, or a later one ended."""
        return max(self.started[0], self._at)

    def note(self, since: float) -> None:
        """Note that a request has waited, or that a statement ran, since this moment."""
        now = time.monotonic()
        used = max(0.0, self._used - (now - self._at)) + now - since
        # Not for ever: a user who was alone may have used all threads for an hour.
        self._used = min(used, 2 * ALLOWANCE)
        self._at = now

    def end(self, started: float) -> None:
        """Note that a statement has ended."""
        self.started.remove(started)
        self.note(started)


class Places:
    """Places in the database for the threads of one worker.

    `total` is one less than the worker's threads, so that one is always free for requests that need
    no database. At most `share` places are one user's at a time while other users send requests,
    and all but one while none does, so that no user can hold them all.
    """

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        # The share of a user who is alone.
        self._alone = max(share, total - 1)
        self._changed = Condition()
        # Threads that have a place, or wait for another request of their user.
        self._inside = 0
        self._users: dict[str, _Share] = {}
        self._remembered = REMEMBERED
        self._is_stuck = False
        # Who sent the latest request, when, and when another user did before.
        self._latest: str | None = None
        self._latest_at = self._other_at = -math.inf

    @contextmanager
    def take(self, user: str) -> Iterator[None]:
        """Hold a place for a user while the block runs; an empty `user` has no share.

        Raises DatabaseUnavailable if all threads but this one are waiting, and TooManyRequests if
        the user's share stays in use.
        """
        with self._changed:
            self._note(user)
            share = self._users.get(user) or self._users.setdefault(user, _Share())
            self._enter(share)
            try:
                self._wait_for_share(user, share)
            except BaseException:
                self._leave()
                raise
            started = time.monotonic()
            share.started.append(started)
        try:
            yield
            self._is_stuck = False
        finally:
            with self._changed:
                share.end(started)
                self._leave()

    def _note(self, user: str) -> None:
        """Note who asks. Logins and probes have no user, and count if they have to wait."""
        now = time.monotonic()
        if user != self._latest and (user or self._inside >= self._total):
            self._latest, self._other_at = user, self._latest_at
            self._changed.notify_all()  # the one who was alone so far shall not wait for ever
        if user == self._latest:
            self._latest_at = now

    def _is_alone(self, user: str) -> bool:
        return user == self._latest and time.monotonic() - self._other_at > ALONE

    def _enter(self, share: _Share) -> None:
        # A user who is alone has the worker's other threads.
        is_own = len(share.started) >= self._alone > self._share
        stall = STALL
        if is_own:
            stall = max(0.0, share.latest_event + OWN_STALL - time.monotonic())
        elif self._is_stuck:
            stall = 0
        if not self._changed.wait_for(lambda: self._inside < self._total, stall):
            if is_own:
                raise TooManyRequests
            self._is_stuck = True
            raise DatabaseUnavailable("all threads but one wait for it")
        self._inside += 1

    def _wait_for_share(self, user: str, share: _Share) -> None:
        deadline = time.monotonic() + PATIENCE
        while user:
            is_alone = self._is_alone(user)
            is_over = not is_alone and share.used > ALLOWANCE
            places = max(1, self._share // 2) if is_over else self._share
            if is_alone:
                places = self._alone
            if len(share.started) < places:
                return
            since = time.monotonic()
            left = ALONE if is_alone else min(deadline, share.started[0] + LONG) - since
            if is_over or left <= 0:
                raise TooManyRequests
            self._changed.wait(left)
            if not is_alone:
                share.note(since)

    def _leave(self) -> None:
        self._inside -= 1
        self._changed.notify_all()
        if len(self._users) > self._remembered:
            self._users = {user: share for user, share in self._users.items() if share.is_recent}
            self._remembered = max(REMEMBERED, 2 * len(self._users))
