"""The errors in openapi.yaml are those of the table, and each documented example is provoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from taskapi import exceptions
from taskapi.web.errors import ANSWERS
from tests.support.accounts import Account, new_email
from tests.support.openapi import DOCUMENT, resolve

RESPONSES = DOCUMENT["components"]["responses"]
JSON = {"Content-Type": "application/json"}
TITLE = {"title": "Buy milk"}


def statuses() -> dict[str, set[int]]:
    """Return the statuses that each response of the components is used for."""
    used: dict[str, set[int]] = {}
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if "$ref" in response:
                    used.setdefault(response["$ref"].rpartition("/")[2], set()).add(int(status))
    return used


def test_each_response_is_an_answer_of_the_table() -> None:
    by_sentence = {(answer.status, answer.detail): answer for answer in ANSWERS.values()}
    for name, used in statuses().items():
        if name == "Invalid":
            assert used == {422}
            continue
        [status] = used
        detail = RESPONSES[name]["content"]["application/json"]["example"]["detail"]
        answer = by_sentence[status, detail]
        headers = set(RESPONSES[name]["headers"]) - {"X-Request-ID", "Accept-Patch"}
        assert headers == set(answer.headers), name


def test_each_answer_of_the_table_is_documented() -> None:
    documented = {status for used in statuses().values() for status in used}
    # 404 and 405 of unknown routes and methods are in the document's introduction.
    assert {answer.status for answer in ANSWERS.values()} - {405} <= documented
    own = {answer.detail for kind, answer in ANSWERS.items() if issubclass(kind, KINDS)}
    examples = {
        response["content"]["application/json"]["example"]["detail"]
        for response in RESPONSES.values()
        if isinstance(response["content"]["application/json"]["example"]["detail"], str)
    }
    # Other sentences of a status whose response has one example.
    others = {
        "Invalid token",
        "Token expired",
        "Too many logins at once: try again later",
        "The identity provider is not available",
    }
    assert own <= examples | others


KINDS = exceptions.TaskApiError


def fail_five_logins(user: Account) -> httpx.Response:
    body = {"email": new_email(), "password": "a wrong password"}
    responses = [user.client.post("/api/auth/login", json=body) for _ in range(6)]
    return responses[-1]


def send(user: Account, **kwargs: Any) -> httpx.Response:
    """Send a request to a new task of the user."""
    method, path = kwargs.pop("method", "PUT"), f"/{user.create()['id']}"
    return user.request(method, kwargs.pop("path", path), **kwargs)


def post(user: Account, path: str, **body: str) -> httpx.Response:
    return user.client.post(f"/api/auth/{path}", json=body)


# By the name of the response. Those that are missing need another service: a broken database, an
# identity provider, a bug; the tests of these compare their sentences.
PROVOKED: dict[str, Callable[[Account], httpx.Response]] = {
    "NotJson": lambda user: send(user, headers=JSON, content=b"{"),
    "Unauthorized": lambda user: user.client.get(user.tasks),
    "WrongCredentials": lambda user: post(user, "login", email=user.email, password="wrong"),
    "Forbidden": lambda user: user.client.get(
        f"/api/{'0' * 8}-0000-4000-8000-{'0' * 12}/tasks", headers=user.headers
    ),
    "TaskNotFound": lambda user: send(user, path=f"/{user.id}", json=TITLE),
    "EmailTaken": lambda user: post(user, "signup", email=user.email, password="x" * 8),
    "LengthRequired": lambda user: send(user, headers=JSON, content=iter([b"{}"])),
    "TaskChanged": lambda user: send(user, json=TITLE, headers={"If-Match": '"x"'}),
    "TooLarge": lambda user: send(user, headers=JSON, content=b" " * (64 * 1024 + 1)),
    "NotDeclaredAsJson": lambda user: send(user, content=b"{}", headers={"Content-Type": "a/b"}),
    "PatchNotDeclaredAsJson": lambda user: send(
        user, method="PATCH", content=b"{}", headers={"Content-Type": "a/b"}
    ),
    "Invalid": lambda user: send(user, json={}),
    "TooManyFailedLogins": fail_five_logins,
}


@pytest.mark.parametrize("name", PROVOKED)
def test_an_example_is_what_the_service_answers(name: str, user: Account) -> None:
    response = PROVOKED[name](user)
    [status] = statuses()[name]
    assert response.status_code == status
    assert response.json() == RESPONSES[name]["content"]["application/json"]["example"]
    for header, reference in RESPONSES[name]["headers"].items():
        assert header in response.headers, resolve(reference)


def test_the_examples_that_are_not_provoked_are_few() -> None:
    rest = {"Defect", "Unavailable", "NotReady", "EmailOfAnotherUser"}
    assert set(RESPONSES) - set(PROVOKED) == rest
