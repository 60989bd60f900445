"""/api/me/tasks stands for the tasks of the token's own user, on every route."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_faults, assert_task
from tests.support.openapi import make_app
from tests.support.tokens import MISSING

ME = "/api/me/tasks"


@pytest.fixture
def me(user: Account) -> Account:
    """The same user, as a client that knows only its token."""
    account = Account(user.client, user.id, user.email, user.token)
    account.tasks = ME
    return account


def test_every_task_route_has_it(user: Account, me: Account, other_user: Account) -> None:
    response = me.request("POST", json={"title": "t"})
    assert response.status_code == 201
    task = response.json()
    assert_task(task)
    assert task["user_id"] == user.id
    path = f"/{task['id']}"
    for method, below, body in (
        ("GET", "", None),
        ("GET", path, None),
        ("PUT", path, {"title": "put"}),
        ("PATCH", path, {"description": "patched"}),
        ("PATCH", f"{path}/complete", {"completed": True}),
    ):
        kwargs = {} if body is None else {"json": body}
        mine, theirs = (account.request(method, below, **kwargs) for account in (me, user))
        assert mine.status_code == theirs.status_code == 200
        if method == "GET":
            assert (mine.content, mine.headers["ETag"]) == (theirs.content, theirs.headers["ETag"])
    assert user.request("GET").json() == me.request("GET").json()
    assert me.request("GET", path).json()["title"] == "put"
    assert me.request("DELETE", path).status_code == 204
    assert_error(user.request("GET", path), 404, "Task not found")
    [kept] = other_user.request("GET").json()
    assert_error(me.request("GET", f"/{kept['id']}"), 404, "Task not found")


def test_no_route_of_a_user_is_without_it(user: Account) -> None:
    for rule in make_app().url_map.iter_rules():
        if "<user_id>" not in rule.rule:
            continue
        path = rule.rule.replace("<user_id>", "me").replace("<id>", user.create()["id"])
        for method in (rule.methods or set()) - {"OPTIONS"}:
            response = user.client.request(method, path, headers=user.headers, content=b"")
            assert response.status_code not in (403, 405), (method, path)
            assert "user_id" not in str(response.text if response.is_error else ""), (method, path)


def test_what_a_response_links_to_names_the_user(user: Account, me: Account) -> None:
    """So that a client which keeps a link can use it after the next login, of another user."""
    for _ in range(2):
        response = me.request("POST", json={"title": "t"})
        assert response.headers["Location"] == f"{user.tasks}/{response.json()['id']}"
        assert user.client.get(response.headers["Location"], headers=me.headers).is_success
    page = me.request("GET", "?limit=1")
    url = page.links["next"]["url"]
    assert httpx.URL(url).path == user.tasks
    assert len(user.client.get(url, headers=me.headers).json()) == 1
    # A cursor is the user's, whatever the path.
    cursor = httpx.URL(url).params["cursor"]
    assert me.request("GET", f"?cursor={cursor}").json() == user.request("GET").json()[1:]


def test_a_key_is_the_same_users(user: Account, me: Account) -> None:
    request: dict[str, Any] = {"json": {"title": "t"}, "headers": {"Idempotency-Key": "one"}}
    first, again = me.request("POST", **request), user.request("POST", **request)
    assert (first.content, first.headers["Location"]) == (again.content, again.headers["Location"])
    assert again.headers["Idempotency-Replayed"] == "true"


def test_it_needs_a_token_and_stands_for_nothing_else(user: Account, me: Account) -> None:
    assert_error(user.client.get(ME), 401, MISSING)
    for other in ("Me", "ME", "me ", "m%65x", "mine"):
        response = user.client.get(f"/api/{other}/tasks", headers=me.headers)
        assert_faults(response, ["path", "user_id"])
    assert_faults(me.request("GET", "/me"), ["path", "id"])
    assert_faults(me.request("GET", "/x"), ["path", "id"])
