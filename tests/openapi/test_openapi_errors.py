"""The errors in openapi.yaml are those of the table, and the service sends them as documented."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest
from jsonschema import Draft202012Validator

from taskapi.exceptions import TaskApiError
from taskapi.web.errors import ANSWERS
from tests.support.accounts import Account, log_in, new_email, sign_up
from tests.support.openapi import DOCUMENT, examples
from tests.support.problems import FAULTS, PROBLEM, assert_problem
from tests.support.service import SECRET

RESPONSES = DOCUMENT["components"]["responses"]
EXAMPLES = {
    (name, example): value
    for name, response in RESPONSES.items()
    for example, value in examples(response["content"]["application/json"]).items()
}
SENTENCES = {(answer.status, answer.detail): answer for answer in ANSWERS.values()}
# In the headers of a response, but not in the table: every response or every 415 to PATCH has them.
NOT_OF_THE_TABLE = {"X-Request-ID", "Accept-Patch"}

# By operationId: the errors that do not follow from the rest of the operation.
OWN_ERRORS = {
    "sign_up": {"EmailTaken", "TooManySignups", "Unavailable"},
    "log_in": {"WrongCredentials", "TooManyFailedLogins", "Unavailable"},
    "create_task": {"EmailOfAnotherUser", "TooManyToCreate", "ForbiddenToCreate"},
    "list_changes": {"ChangesPurged"},
    "update_task": {"EmailOfAnotherUser", "ForbiddenToCreate"},
    "write_batch": {"BatchRefused", "ForbiddenToCreate"},
    "change_password": {"WrongPassword", "AccountOfProvider", "TooManyFailedLogins"},
    "close_account": {"WrongPassword", "AccountOfProvider", "TooManyFailedLogins"},
    "ready": {"NotReady"},
}

# What an operation with a token can end with in place of the usual error.
INSTEAD = {
    "WrongPassword": "Unauthorized",
    "TooManyToCreate": "TooManyRequests",
    "TooManyFailedLogins": "TooManyRequests",
}

# The schemas of errors that have more than a sentence.
FORMS = {
    "Invalid": ("Faults", "FaultsProblem"),
    "TaskChanged": ("Conflict", "Problem"),
    "BatchRefused": ("BatchRefusal", "Problem"),
}

JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
TITLE = {"title": "Buy milk"}
PASSWORD_PATH = "/api/auth/password"


def operations() -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """Yield each operation and its errors: the name of each and its status."""
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            references = {
                response["$ref"].rpartition("/")[2]: int(status)
                for status, response in operation["responses"].items()
                if "$ref" in response
            }
            yield operation, references


STATUSES = {name: status for _, errors in operations() for name, status in errors.items()}


def test_each_operation_has_the_errors_that_it_can_end_with() -> None:
    for operation, errors in operations():
        expected = {"Defect"} | OWN_ERRORS.get(operation["operationId"], set())
        parameters = {
            parameter.get("$ref", "").rpartition("/")[2] for parameter in operation["parameters"]
        }
        if "security" not in operation:
            expected |= {"Unavailable"}
            special = {usual for name, usual in INSTEAD.items() if name in expected}
            expected |= set(INSTEAD.values()) - special
        if "user_id" in parameters:
            expected |= {"Invalid"}
            if "ForbiddenToCreate" not in expected:
                expected |= {"Forbidden"}
        if "id" in parameters:
            expected |= {"TaskNotFound"}
        if "If-Match" in parameters:
            expected |= {"TaskChanged"}
        if "requestBody" in operation:
            expected |= {"NotJson", "LengthRequired", "TooLarge", "Invalid"}
            is_patch = "application/merge-patch+json" in operation["requestBody"]["content"]
            expected |= {"PatchNotDeclaredAsJson" if is_patch else "NotDeclaredAsJson"}
        assert set(errors) == expected, operation["operationId"]
        assert all(STATUSES[name] == status for name, status in errors.items())


def test_each_example_is_an_answer_of_the_table() -> None:
    for (name, _), example in EXAMPLES.items():
        if name == "Invalid":
            assert STATUSES[name] == 422
        else:
            answer = SENTENCES[STATUSES[name], example["detail"]]
            assert set(RESPONSES[name]["headers"]) - NOT_OF_THE_TABLE == set(answer.headers), name


def test_each_answer_of_the_table_is_documented() -> None:
    # Unknown paths and wrong methods, 404 and 405, are in the introduction.
    documented = set(STATUSES.values()) | {404, 405}
    assert {answer.status for answer in ANSWERS.values()} <= documented
    sentences = {example["detail"] for (name, _), example in EXAMPLES.items() if name != "Invalid"}
    for kind, answer in ANSWERS.items():
        assert answer.detail in sentences or not issubclass(kind, TaskApiError), kind


def send(user: Account, method: str = "PUT", **kwargs: Any) -> httpx.Response:
    """Send a request to a new task of the user."""
    return user.request(method, f"/{user.create()['id']}", **kwargs)


def send_token(user: Account, token: str) -> httpx.Response:
    return user.request("GET", headers={"Authorization": f"Bearer {token}"})


def expired_token(user: Account) -> str:
    claims = {"sub": user.id, "exp": int(time.time()) - 3600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def change_password(user: Account, token: str) -> httpx.Response:
    body = {"password": "wrong", "new_password": "another long password"}
    return user.client.put(PASSWORD_PATH, headers={"Authorization": f"Bearer {token}"}, json=body)


def repeat_a_key(user: Account) -> httpx.Response:
    headers = {"Idempotency-Key": "one"}
    assert user.request("POST", json=TITLE, headers=headers).status_code == 201
    return user.request("POST", json={"title": "Buy oat milk"}, headers=headers)


def fail_five_logins(user: Account) -> httpx.Response:
    email = new_email()
    return [log_in(user.client, email) for _ in range(6)][-1]


def refuse_a_batch(user: Account) -> httpx.Response:
    operations = [{"op": "create", **TITLE}, {"op": "delete", "id": user.id}]
    return user.request("POST", "/batch", json={"operations": operations, "atomic": True})


# By the name of the response and of its example.
PROVOKED: dict[tuple[str, str], Callable[[Account], httpx.Response]] = {
    ("NotJson", ""): lambda user: send(user, headers=JSON, content=b"{"),
    ("Unauthorized", "missing"): lambda user: user.client.get(user.tasks),
    ("Unauthorized", "invalid"): lambda user: send_token(user, "x"),
    ("Unauthorized", "expired"): lambda user: send_token(user, expired_token(user)),
    ("WrongCredentials", ""): lambda user: log_in(user.client, user.email, "wrong"),
    ("WrongPassword", "missing"): lambda user: user.client.put(PASSWORD_PATH),
    ("WrongPassword", "invalid"): lambda user: change_password(user, "x"),
    ("WrongPassword", "expired"): lambda user: change_password(user, expired_token(user)),
    ("WrongPassword", "wrong"): lambda user: change_password(user, user.token),
    ("ForbiddenToCreate", "user"): lambda user: user.client.post(
        f"/api/{user.create()['id']}/tasks", headers=user.headers, json=TITLE
    ),
    ("Forbidden", ""): lambda user: user.client.get(
        f"/api/{user.create()['id']}/tasks", headers=user.headers
    ),
    ("TaskNotFound", ""): lambda user: user.request("GET", f"/{user.id}"),
    ("EmailTaken", ""): lambda user: sign_up(user.client, user.email),
    ("LengthRequired", ""): lambda user: send(user, headers=JSON, content=iter([b"{}"])),
    ("TaskChanged", ""): lambda user: send(user, json=TITLE, headers={"If-Match": '"x"'}),
    ("TooLarge", "request"): lambda user: send(user, headers=JSON, content=b" " * (2**16 + 1)),
    ("BatchRefused", "operation"): refuse_a_batch,
    ("NotDeclaredAsJson", ""): lambda user: send(user, headers=TEXT, content=b"{}"),
    ("PatchNotDeclaredAsJson", ""): lambda user: send(user, "PATCH", headers=TEXT, content=b"{}"),
    ("Invalid", "missing"): lambda user: send(user, json={}),
    ("Invalid", "path"): lambda user: user.request("GET", "/x"),
    ("Invalid", "query"): lambda user: user.request("GET", "?limit=0&completed=yes"),
    ("Invalid", "header"): repeat_a_key,
    ("TooManyFailedLogins", ""): fail_five_logins,
}

# What needs another service than the shared one. The tests of each compare the sentence.
ELSEWHERE = {
    ("TooManyRequests", ""),
    ("TooManyToCreate", "requests"),
    ("TooManyToCreate", "keys"),
    ("TooManySignups", ""),
    ("Defect", ""),
    ("Unavailable", "database"),
    ("Unavailable", "passwords"),
    ("Unavailable", "identity-provider"),
    ("NotReady", "database"),
    ("NotReady", "key"),
    ("NotReady", "migrations"),
    ("EmailOfAnotherUser", ""),
    ("BatchRefused", "email"),
    ("TooLarge", "response"),
    ("ChangesPurged", ""),
    ("ForbiddenToCreate", "tasks"),
    ("AccountOfProvider", ""),
}


@pytest.mark.parametrize("name", PROVOKED, ids="-".join)
def test_an_example_is_what_the_service_answers(name: tuple[str, str], user: Account) -> None:
    response = PROVOKED[name](user)
    assert response.status_code == STATUSES[name[0]]
    # The current task of a 412 is not the example's.
    variable = {"current"} if response.status_code == 412 else set()
    expected = EXAMPLES[name]
    assert set(response.json()) == set(expected)
    assert all(response.json()[key] == expected[key] for key in set(expected) - variable)
    assert all(header in response.headers for header in RESPONSES[name[0]]["headers"])


@pytest.mark.parametrize("name", PROVOKED, ids="-".join)
def test_a_client_that_prefers_problem_details_gets_the_same_as_such(
    name: tuple[str, str], user: Account
) -> None:
    user.client.headers["Accept"] = PROBLEM
    response = PROVOKED[name](user)
    status, said = STATUSES[name[0]], EXAMPLES[name]["detail"]
    assert_problem(response, status, FAULTS if status == 422 else said)
    assert response.json().get("errors") == (said if status == 422 else None)
    schema = RESPONSES[name[0]]["content"][PROBLEM]["schema"]
    Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(response.json())


def test_each_error_has_both_forms() -> None:
    """The one that needs no Accept first: generated clients take the first that they know."""
    for name, response in RESPONSES.items():
        plain, problem = FORMS.get(name, ("Error", "Problem"))
        assert [(kind, said["schema"]) for kind, said in response["content"].items()] == [
            ("application/json", {"$ref": f"#/components/schemas/{plain}"}),
            (PROBLEM, {"$ref": f"#/components/schemas/{problem}"}),
        ]


def test_each_example_is_provoked_here_or_elsewhere() -> None:
    assert set(EXAMPLES) == set(PROVOKED) | ELSEWHERE
