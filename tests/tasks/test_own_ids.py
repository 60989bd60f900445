"""Tasks that a client creates with its own id: PUT with `If-None-Match: *`."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_faults, assert_task

ONLY_NEW = {"If-None-Match": "*"}


def put(user: Account, id: str, **members: Any) -> httpx.Response:
    return user.request("PUT", f"/{id}", json={"title": "a task", **members}, headers=ONLY_NEW)


def test_the_task_gets_the_clients_id(user: Account) -> None:
    id = str(uuid.uuid4())
    response = put(user, id.upper(), description="d", completed=True)
    assert response.status_code == 201, response.text
    task = response.json()
    assert_task(task)
    assert (task["id"], task["description"], task["completed"]) == (id, "d", True)
    assert task["created_at"] == task["updated_at"]
    assert response.headers["Location"].endswith(f"{user.tasks}/{id}")
    read = user.request("GET", f"/{id}")
    assert read.json() == task
    assert read.headers["ETag"] == response.headers["ETag"]


def test_a_repeated_request_creates_nothing(user: Account) -> None:
    """And tells what is there, so that an offline client knows that it is done."""
    id = str(uuid.uuid4())
    first = put(user, id)
    again = put(user, id, title="another")
    assert_error(again, 412, "The task has changed since")
    assert again.json()["current"] == first.json()
    assert again.headers["ETag"] == first.headers["ETag"]
    assert user.request("GET").json() == [first.json()]


def test_a_deleted_task_can_be_put_back(user: Account) -> None:
    task = user.create("there")
    user.request("DELETE", f"/{task['id']}")
    back = put(user, task["id"], title="back")
    assert back.status_code == 201
    assert back.json()["updated_at"] > task["updated_at"]
    # What the first one had doesn't match
    stale = {"If-Match": f'"{task["updated_at"]}"'}
    assert user.request("DELETE", f"/{task['id']}", headers=stale).status_code == 412


def test_another_users_id_neither_collides_nor_is_revealed(
    user: Account, other_user: Account
) -> None:
    [theirs] = other_user.request("GET").json()
    mine = put(user, theirs["id"], title="mine")
    assert mine.status_code == 201
    assert user.request("GET").json() == [mine.json()]
    assert other_user.request("GET").json() == [theirs]
    assert user.request("DELETE", f"/{theirs['id']}").status_code == 204
    assert other_user.request("GET", f"/{theirs['id']}").json() == theirs


def test_without_the_header_a_missing_task_stays_missing(user: Account) -> None:
    missing = f"/{uuid.uuid4()}"
    assert_error(user.request("PUT", missing, json={"title": "t"}), 404, "Task not found")
    tagged = {"If-None-Match": '"x"'}
    response = user.request("PUT", missing, json={"title": "t"}, headers=tagged)
    assert_error(response, 404, "Task not found")


def test_the_body_is_that_of_a_post(user: Account) -> None:
    path = f"/{uuid.uuid4()}"
    response = user.request("PUT", path, json={"completed": "yes"}, headers=ONLY_NEW)
    assert_error(response, 422)
    assert {entry["loc"][-1] for entry in response.json()["detail"]} == {"title", "completed"}
    assert_faults(user.request("PUT", "/x", json={"title": "t"}, headers=ONLY_NEW), ["path", "id"])


def test_one_of_many_at_once_creates_it(user: Account) -> None:
    for _ in range(20):
        id = str(uuid.uuid4())
        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(lambda _, id=id: put(user, id), range(8)))
        codes = sorted(response.status_code for response in responses if response.status_code < 429)
        assert codes[:1] == [201]
        assert set(codes[1:]) <= {412}
        for response in responses:
            if response.status_code == 412:
                assert response.json()["current"]["id"] == id


def test_every_412_has_the_current_task(user: Account) -> None:
    task = user.create()
    stale = {"If-Match": '"stale"'}
    path = f"/{task['id']}"
    for method, below, body in (
        ("PUT", "", {"title": "t"}),
        ("PATCH", "", {"title": "t"}),
        ("PATCH", "/complete", None),
        ("DELETE", "", None),
    ):
        response = user.request(method, path + below, json=body, headers=stale)
        assert_error(response, 412, "The task has changed since")
        assert response.json()["current"] == task
        assert response.headers["ETag"] == user.request("GET", path).headers["ETag"]
