"""Another user's tasks, in all six routes and both shapes (T039, T046, T059, T069, T080, T100)."""

from __future__ import annotations

import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error

ROUTES = [
    ("POST", "", {"title": "t"}),
    ("GET", "", None),
    ("GET", "/{id}", None),
    ("PUT", "/{id}", {"title": "t"}),
    ("DELETE", "/{id}", None),
    ("PATCH", "/{id}/complete", None),
    ("PATCH", "/{id}/complete", {"completed": True}),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_another_users_url_is_forbidden(
    user: Account, other_user: Account, method: str, path: str, body: object
) -> None:
    before = other_user.request("GET").json()
    url = other_user.tasks + path.format(id=before[0]["id"])
    response = user.client.request(method, url, headers=user.headers, json=body)
    assert_error(response, 403, "Access denied: user_id does not match the token")
    assert other_user.request("GET").json() == before
    assert user.request("GET").json() == []


@pytest.mark.parametrize(("method", "path", "body"), [route for route in ROUTES if route[1]])
def test_another_users_task_is_not_found(
    user: Account, other_user: Account, method: str, path: str, body: object
) -> None:
    """The same answer as for a task that never was."""
    before = other_user.request("GET").json()
    response = user.request(method, path.format(id=before[0]["id"]), json=body)
    assert_error(response, 404, "Task not found")
    assert other_user.request("GET").json() == before


def test_each_sees_only_their_own(user: Account, other_user: Account) -> None:
    task = user.create("mine")
    assert user.request("GET").json() == [task]
    assert [task["title"] for task in other_user.request("GET").json()] == ["another user's"]


def test_the_checks_come_in_their_order(user: Account, other_user: Account) -> None:
    """401 token, 422 path, 403 user, then the body, then 404."""
    task = other_user.request("GET").json()[0]
    client, bad = user.client, {"content": b"not JSON"}

    def put(path: str, **kwargs: object) -> int:
        return client.put(path, **kwargs).status_code  # type: ignore[arg-type]

    assert put("/api/1/tasks/2", **bad) == 401
    assert put(f"/api/1/tasks/{task['id']}", headers=user.headers, **bad) == 422
    assert put(f"{other_user.tasks}/2", headers=user.headers, **bad) == 422
    assert put(f"{other_user.tasks}/{task['id']}", headers=user.headers, **bad) == 403
    assert put(f"{user.tasks}/{task['id']}", headers=user.headers, **bad) == 415
    assert put(f"{user.tasks}/{task['id']}", headers=user.headers, json={"title": ""}) == 422
    assert put(f"{user.tasks}/{task['id']}", headers=user.headers, json={"title": "t"}) == 404
