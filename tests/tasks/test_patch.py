"""PATCH of a task: JSON Merge Patch (RFC 7396)."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.accounts import Account
from tests.support.bodies import NOT_JSON
from tests.support.checks import assert_error, assert_faults, assert_task

BEFORE: dict[str, Any] = {"title": "t", "description": "d", "completed": False}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({}, {}),
        ({"title": " new "}, {"title": "new"}),
        ({"description": "new"}, {"description": "new"}),
        ({"description": ""}, {"description": ""}),
        ({"description": None}, {"description": None}),
        ({"completed": True}, {"completed": True}),
        ({"completed": False}, {}),
        (
            {"title": "a", "description": "b", "completed": True},
            {"title": "a", "description": "b", "completed": True},
        ),
        ({"id": str(uuid.uuid4()), "user_id": 5, "created_at": None, "new": [1]}, {}),
    ],
)
@pytest.mark.parametrize("headers", [{}, MERGE_PATCH])
def test_it_changes_what_is_sent_and_nothing_else(
    user: Account, patch: dict[str, Any], expected: dict[str, Any], headers: dict[str, str]
) -> None:
    task = user.create(**BEFORE)
    response = user.request("PATCH", f"/{task['id']}", json=patch, headers=headers)
    assert response.status_code == 200
    assert_task(response.json())
    updated_at = response.json()["updated_at"]
    assert updated_at > task["updated_at"]
    if expected.get("completed"):
        expected = expected | {"completed_at": updated_at}
    assert response.json() == task | expected | {"updated_at": updated_at}
    assert user.request("GET", f"/{task['id']}").json() == response.json()


@pytest.mark.parametrize(
    ("patch", "loc"),
    [
        ({"title": None}, "title"),
        ({"title": " "}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"title": 5}, "title"),
        ({"title": "a\0"}, "title"),
        ({"description": 5}, "description"),
        ({"description": "x" * 10_001}, "description"),
        ({"completed": None}, "completed"),
        ({"completed": 1}, "completed"),
        ({"completed": "true"}, "completed"),
    ],
)
def test_it_rejects_bad_members(user: Account, patch: dict[str, Any], loc: str) -> None:
    """What can't be null can't be removed; and nothing of a bad patch is carried out."""
    task = user.create(**BEFORE)
    response = user.request("PATCH", f"/{task['id']}", json={"description": "new", **patch})
    assert_faults(response, ["body", loc])
    assert user.request("GET").json() == [task]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"title"'])
def test_it_rejects_what_is_no_object(user: Account, body: bytes) -> None:
    task = user.create()
    response = user.request("PATCH", f"/{task['id']}", content=body, headers=MERGE_PATCH)
    assert_faults(response, ["body"])
    assert user.request("GET").json() == [task]


@pytest.mark.parametrize("case", NOT_JSON)
def test_it_rejects_what_is_not_json(user: Account, case: str) -> None:
    path = f"/{user.create()['id']}"
    response = user.request("PATCH", path, content=NOT_JSON[case], headers=MERGE_PATCH)
    assert_error(response, 400, "The request body is not valid JSON")


@pytest.mark.parametrize(
    "content_type", ["application/json-patch+json", "application/vnd.x+json", "text/plain"]
)
def test_it_tells_what_it_takes_instead(user: Account, content_type: str) -> None:
    """RFC 5789, 2.2 and 3.1."""
    path = f"/{user.create()['id']}"
    headers = {"Content-Type": content_type}
    refused = user.request("PATCH", path, content=b'{"title": "x"}', headers=headers)
    assert_error(refused, 415)
    for response in (refused, user.request("OPTIONS", path)):
        accepted = response.headers["Accept-Patch"]
        assert accepted == "application/merge-patch+json, application/json"
    assert "Accept-Patch" not in user.request("OPTIONS", f"{path}/complete").headers


def test_a_task_that_is_not_there_is_not_found(user: Account, other_user: Account) -> None:
    """Another user's neither."""
    before = other_user.request("GET").json()
    for id in (uuid.uuid4(), before[0]["id"]):
        response = user.request("PATCH", f"/{id}", json={"title": "t"})
        assert_error(response, 404, "Task not found")
    url = f"{other_user.tasks}/{before[0]['id']}"
    forbidden = user.client.patch(url, json={"title": "t"}, headers=user.headers)
    assert_error(forbidden, 403)
    assert other_user.request("GET").json() == before


def test_two_who_change_different_members_at_once_both_succeed(user: Account) -> None:
    path = f"/{user.create()['id']}"
    with ThreadPoolExecutor(2) as threads:
        for number in range(50):
            patches: list[dict[str, Any]] = [
                {"title": f"title {number}"},
                {"description": f"description {number}", "completed": number % 2 == 0},
            ]
            answers = threads.map(lambda patch: user.request("PATCH", path, json=patch), patches)
            assert [answer.status_code for answer in answers] == [200, 200]
            task = user.request("GET", path).json()
            assert {name: task[name] for name in BEFORE} == patches[0] | patches[1]
