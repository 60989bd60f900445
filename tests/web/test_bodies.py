"""Request bodies: malformed, oversized, undeclared, cut short."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.support.accounts import PASSWORD, Account
from tests.support.bodies import NOT_JSON
from tests.support.checks import assert_error, assert_faults
from tests.support.service import PATIENCE, Service

LIMIT = 64 * 1024
JSON = {"Content-Type": "application/json"}

ROUTES = ["signup", "login", "POST", "PUT", "PATCH"]


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest, user: Account) -> tuple[str, str]:
    """Each route that reads a body, as method and URL."""
    id = user.create("untouched")["id"]
    routes = {
        "signup": ("POST", "/api/auth/signup"),
        "login": ("POST", "/api/auth/login"),
        "POST": ("POST", user.tasks),
        "PUT": ("PUT", f"{user.tasks}/{id}"),
        "PATCH": ("PATCH", f"{user.tasks}/{id}/complete"),
    }
    return routes[request.param]


@pytest.fixture(autouse=True)
def nothing_changed(user: Account) -> Iterator[None]:
    """Bad input loses nothing and makes nothing."""
    yield
    assert {(t["title"], t["completed"]) for t in user.request("GET").json()} <= {
        ("untouched", False)
    }


@pytest.mark.parametrize("case", NOT_JSON)
def test_it_rejects_what_is_not_json(user: Account, route: tuple[str, str], case: str) -> None:
    method, url = route
    headers = user.headers | JSON
    response = user.client.request(method, url, headers=headers, content=NOT_JSON[case])
    assert_error(response, 400, "The request body is not valid JSON")


@pytest.mark.parametrize("body", [b"[]", b'["title"]', b'"title"', b"5", b"true", b"null"])
def test_it_rejects_json_that_is_no_object(
    user: Account, route: tuple[str, str], body: bytes
) -> None:
    method, url = route
    response = user.client.request(method, url, headers=user.headers | JSON, content=body)
    assert_faults(response, ["body"])


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonx"],
)
def test_it_rejects_a_body_that_is_not_declared_as_json(
    user: Account, route: tuple[str, str], content_type: str | None
) -> None:
    method, url = route
    headers = dict(user.headers)
    if content_type is not None:
        headers["Content-Type"] = content_type
    response = user.client.request(method, url, headers=headers, content=b'{"title": "x"}')
    assert_error(response, 415, "The request body must be declared as application/json")


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"],
)
def test_it_takes_json_under_its_other_names(user: Account, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    response = user.request("POST", content=b'{"title": "untouched"}', headers=headers)
    assert response.status_code == 201


@pytest.mark.parametrize("length", [LIMIT + 1, LIMIT * 2, 2_000_000])
def test_it_rejects_a_body_over_the_limit(
    user: Account, route: tuple[str, str], length: int
) -> None:
    method, url = route
    body = b'{"title": "x", "completed": true}'.ljust(length)
    response = user.client.request(method, url, headers=user.headers | JSON, content=body)
    assert_error(response, 413, "The request body is larger than 64 KiB, or 1 MiB for a batch")


def test_it_takes_a_body_of_just_the_limit(user: Account) -> None:
    body = b'{"title": "untouched"}'.ljust(LIMIT)
    assert user.request("POST", content=body, headers=JSON).status_code == 201


@pytest.mark.parametrize("length", [20, LIMIT, LIMIT * 3])
def test_it_rejects_a_body_that_does_not_say_its_length(
    user: Account, route: tuple[str, str], length: int
) -> None:
    """A document padded to the limit, with more behind it, must not be taken for whole."""
    method, url = route

    def chunks() -> Iterator[bytes]:
        yield b'{"title": "x", "completed": true}'.ljust(length)
        yield b"and more"

    response = user.client.request(method, url, headers=user.headers | JSON, content=chunks())
    assert_error(response, 411, "The request must say its length: send Content-Length")


def test_it_rejects_a_body_that_ends_early(user: Account, service: Service) -> None:
    """A client that went away half way must not have half of its request carried out."""
    request = (
        f"POST {user.tasks} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
        'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"title": "half"}'
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as conn:
        conn.sendall(request.encode())
        conn.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: conn.recv(65_536), b""))
    assert b" 201 " not in answer.partition(b"\r\n")[0]


LONE_SURROGATES = [r"\ud800", r"\udfff", r"a\uDBFFb", r"\udc00\ud800", r"\\\ud83d"]


@pytest.mark.parametrize("escape", [*LONE_SURROGATES, r"\u0000", r"a\u0000b"])
@pytest.mark.parametrize("member", ["title", "description"])
def test_it_rejects_text_that_postgresql_cannot_store(
    user: Account, member: str, escape: str
) -> None:
    others = '"title": "x", ' if member == "description" else ""
    body = f'{{{others}"{member}": "{escape}"}}'.encode()
    id = user.create("untouched")["id"]
    for method, path in (("POST", ""), ("PUT", f"/{id}")):
        response = user.request(method, path, content=body, headers=JSON)
        assert_faults(response, ["body", member])


@pytest.mark.parametrize("escape", LONE_SURROGATES)
def test_it_rejects_credentials_with_lone_surrogates(user: Account, escape: str) -> None:
    for route in ("/api/auth/signup", "/api/auth/login"):
        body = f'{{"email": "a@b{escape}", "password": "12345678{escape}"}}'.encode()
        response = user.client.post(route, content=body, headers=JSON)
        assert_faults(response, ["body", "email"], ["body", "password"])
    body = f'{{"email": "a\\u0000@b.c", "password": "{PASSWORD}"}}'.encode()
    assert_faults(
        user.client.post("/api/auth/login", content=body, headers=JSON), ["body", "email"]
    )


@pytest.mark.parametrize(
    "text", ["𝄞", "\\ud83d", "\\\\", '"', "\\u0000", "a\\", "\x7f", "\ufffe", "\U0010ffff"]
)
def test_what_only_looks_like_a_bad_escape_is_kept(user: Account, text: str) -> None:
    for body in (json.dumps({"title": "untouched", "description": text}), ""):
        content = body or json.dumps(
            {"title": "untouched", "description": text, "x": "\ud800"}
        )  # beside a lone surrogate in a member that nobody reads
        response = user.request("POST", content=content.encode(), headers=JSON)
        assert response.status_code == 201, response.text
        assert response.json()["description"] == text


def test_a_member_named_twice_has_its_last_value(user: Account) -> None:
    body = b'{"title": "x", "title": "untouched"}'
    response = user.request("POST", content=body, headers=JSON)
    assert response.json()["title"] == "untouched"


def test_a_refused_body_does_not_spoil_the_connection(service: Service, user: Account) -> None:
    """What was not read of it must not be taken for the next request."""
    with httpx.Client(base_url=service.url, timeout=PATIENCE) as client:
        for _ in range(3):
            body = b"GET /health HTTP/1.1\r\n\r\n" * 5000
            response = client.post(user.tasks, headers=user.headers | JSON, content=body)
            assert_error(response, 413)
            path = f"{user.tasks}/{uuid.uuid4()}"
            assert_error(client.get(path, headers=user.headers), 404, "Task not found")
