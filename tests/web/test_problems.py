"""Problem details (RFC 9457) for clients that prefer them, and nothing new for others."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.problems import (
    NOT_PREFERRED,
    PREFERRED,
    PROBLEM,
    WEIGHED,
    assert_problem,
)

JSON = {"Content-Type": "application/json"}


def get(client: httpx.Client, path: str, *accepts: str) -> httpx.Response:
    """Ask with these Accept headers, and no other."""
    request = client.build_request("GET", path)
    del request.headers["Accept"]
    raw = [*request.headers.raw, *((b"Accept", accept.encode()) for accept in accepts)]
    request.headers = httpx.Headers(raw)
    return client.send(request)


@pytest.mark.parametrize("accept", [*PREFERRED, *WEIGHED])
def test_a_client_that_prefers_them_gets_problem_details(client: httpx.Client, accept: str) -> None:
    assert_problem(get(client, "/nope", accept), 404, "Not found")


@pytest.mark.parametrize("accept", NOT_PREFERRED)
def test_another_client_gets_what_it_always_got(client: httpx.Client, accept: str) -> None:
    plain, response = get(client, "/nope"), get(client, "/nope", accept)
    assert_error(response, 404, "Not found")
    assert response.content == plain.content == b'{"detail":"Not found"}\n'
    for answer in (plain, response):
        del answer.headers["Date"], answer.headers["X-Request-ID"]
    assert response.headers.raw == plain.headers.raw
    assert "Vary" not in response.headers


def test_several_accept_headers_are_one_list(client: httpx.Client) -> None:
    assert_problem(get(client, "/nope", "application/json", PROBLEM), 404)
    assert_error(get(client, "/nope", "application/json", f"{PROBLEM};q=0.5"), 404)


def test_every_kind_of_error_is_one(user: Account) -> None:
    user.client.headers["Accept"] = PROBLEM
    task = f"/{user.create()['id']}"
    missing = user.client.get(user.tasks)
    assert_problem(missing, 401, "Missing authentication token")
    assert missing.headers["WWW-Authenticate"] == "Bearer"
    method = user.client.put("/health")
    assert_problem(method, 405, "Method not allowed")
    assert set(method.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    for status, kwargs in (
        (400, {"content": b"{", "headers": JSON}),
        (411, {"content": iter([b"{}"]), "headers": JSON}),
        (412, {"json": {"title": "t"}, "headers": {"If-Match": '"x"'}}),
        (413, {"content": b" " * 65_537, "headers": JSON}),
        (415, {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
    ):
        assert_problem(user.request("PUT", task, **kwargs), status)
    assert_problem(user.request("GET", f"/{user.id}"), 404, "Task not found")
    unsupported = user.request("PATCH", task, content=b"{}")
    assert_problem(unsupported, 415)
    assert "Accept-Patch" in unsupported.headers


def test_a_422_lists_the_same_faults(user: Account) -> None:
    body = {"description": 5, "completed": "yes"}
    plain = user.request("POST", json=body)
    problem = user.request("POST", json=body, headers={"Accept": PROBLEM})
    assert_error(plain, 422)
    assert_problem(problem, 422)
    assert problem.json()["errors"] == plain.json()["detail"]


def test_what_is_no_error_is_the_same(user: Account) -> None:
    path = f"/{user.create()['id']}"
    plain = user.request("GET", path)
    preferred = user.request("GET", path, headers={"Accept": PROBLEM})
    assert preferred.content == plain.content
    assert preferred.headers["Content-Type"] == "application/json"
    tag = preferred.headers["ETag"]
    assert tag == plain.headers["ETag"]
    known = user.request("GET", path, headers={"Accept": PROBLEM, "If-None-Match": tag})
    assert (known.status_code, known.content) == (304, b"")


def test_head_has_the_headers_of_the_problem(client: httpx.Client) -> None:
    head = client.head("/nope", headers={"Accept": PROBLEM})
    get = client.get("/nope", headers={"Accept": PROBLEM})
    assert (head.status_code, head.content) == (404, b"")
    for name in ("Content-Type", "Content-Length"):
        assert head.headers[name] == get.headers[name]


def test_a_defect_and_a_database_that_is_too_slow_are_problems(
    make_service: MakeService, own_url: str
) -> None:
    service = make_service(DATABASE_URL=own_url, DB_STATEMENT_TIMEOUT="0.5")
    service.start()
    with service.client() as client, psycopg.connect(own_url, autocommit=True) as dba:
        client.headers["Accept"] = PROBLEM
        user = Account.insert(client, dba)
        with dba.transaction():
            dba.execute("LOCK TABLE tasks")
            slow = user.request("GET")
        assert_problem(slow, 503, "The database is not available")
        assert int(slow.headers["Retry-After"]) > 0
        dba.execute("ALTER TABLE tasks RENAME COLUMN title TO name")
        assert_problem(user.request("GET"), 500, "Internal server error")
