"""Clients that follow a user's change feed."""

from __future__ import annotations

from typing import Any

from tests.support.accounts import Account


def read_changes(user: Account, since: str | None = None, limit: int | None = None) -> Any:
    """Return a page of the feed."""
    params = {"since": since, "limit": limit}
    response = user.request(
        "GET", "/changes", params={name: value for name, value in params.items() if value}
    )
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
