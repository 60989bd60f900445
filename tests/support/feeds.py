"""Clients that follow a user's change feed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition, Event
from typing import Any

import httpx

from tests.support.accounts import Account
from tests.support.service import PATIENCE, wait_until

# What a client that comes too often, or during an outage, is told: it asks again.
EXCUSED = {429, 502, 503, 504}
# Seconds between two pages: without a pause, readers would leave too little to the writers.
PACE = 0.02


class Unserved(Exception):
    """The service is too busy, or without a database."""


def read_changes(user: Account, since: str | None = None, limit: int | None = None) -> Any:
    """Return a page of the feed."""
    params = {"since": since, "limit": limit}
    response = user.request(
        "GET", "/changes", params={name: value for name, value in params.items() if value}
    )
    if response.status_code in EXCUSED:
        raise Unserved(response.text)
    assert response.status_code == 200, response.text
    return response.json()


def read_list(user: Account) -> dict[str, dict[str, Any]]:
    """Return all tasks by id, from all pages of the list."""
    tasks: dict[str, dict[str, Any]] = {}
    url: str | None = user.tasks
    while url:
        response = user.client.get(url, headers=user.headers)
        assert response.status_code == 200, response.text
        tasks |= {task["id"]: task for task in response.json()}
        url = response.links.get("next", {}).get("url")
    return tasks


class Follower:
    """A copy of a user's tasks that is kept by the feed alone."""

    def __init__(self, user: Account, token: str | None = None, limit: int | None = None) -> None:
        self.user = user
        self.limit = limit
        self.tasks: dict[str, dict[str, Any]] = {}
        self.token = token
        if token is None:
            self.start_over()

    def start_over(self) -> None:
        """Take a token, then list all tasks: nothing falls in between."""
        self.token = read_changes(self.user)["next"]
        self.tasks = read_list(self.user)

    def follow(self) -> bool:
        """Apply one page of changes. Returns whether there is more."""
        page = read_changes(self.user, self.token, self.limit)
        for change in page["changes"]:
            if "deleted" in change:
                self.tasks.pop(change["id"], None)
            else:
                self.tasks[change["id"]] = change
        self.token = page["next"]
        more: bool = page["more"]
        return more

    def catch_up(self) -> None:
        """Apply all changes that there are by now."""
        while self.follow():
            pass


class Readers:
    """Followers that read all the time, each in a thread."""

    def __init__(self, *followers: Follower) -> None:
        self.followers = followers
        self._pages = 0
        self._turned = Condition()
        self._stopping = Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let them read meanwhile."""
        self._stopping.clear()
        with ThreadPoolExecutor(max(1, len(self.followers))) as threads:
            futures = [threads.submit(self._read, follower) for follower in self.followers]
            try:
                yield
            finally:
                self._stopping.set()
            for future in futures:
                future.result()

    def wait_for_page(self) -> None:
        """Wait until a page has been read that was asked for after this call."""
        with self._turned:
            # Those that are under way now don't count.
            wanted = self._pages + len(self.followers) + 1
            assert self._turned.wait_for(lambda: self._pages >= wanted, PATIENCE), "no page came"

    def assert_complete(self) -> None:
        """Compare each copy with the list, once nothing writes any more.

        A write without an answer may be done late. A change that was missed never comes.
        """

        def are_equal() -> bool:
            for follower in self.followers:
                follower.catch_up()
            return all(follower.tasks == read_list(follower.user) for follower in self.followers)

        wait_until("copies to be equal to the list", are_equal, PATIENCE / 2)

    def _read(self, follower: Follower) -> None:
        while not self._stopping.wait(PACE):
            try:
                follower.follow()
            except (httpx.TransportError, Unserved):
                continue
            with self._turned:
                self._pages += 1
                self._turned.notify_all()
