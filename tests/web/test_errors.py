"""One shape for every error, the framework's own included, and an id on every answer."""

from __future__ import annotations

import uuid

import httpx
import psycopg
import pytest

from tests.support.accounts import PASSWORD, Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import Service, wait_until


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/nope", "/api/auth", "/api/auth/logout", "/api//tasks"],
)
def test_an_unknown_route_is_not_found(client: httpx.Client, service: Service, path: str) -> None:
    response = client.get(service.url + path)
    assert_error(response, 404, "Not found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/auth/signup", {"POST", "OPTIONS"}),
        ("DELETE", "/api/auth/login", {"POST", "OPTIONS"}),
        ("POST", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/ready", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", "/api/x/tasks", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", "/api/x/tasks/y", {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"}),
        ("GET", "/api/x/tasks/y/complete", {"PATCH", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    response = client.request(method, path)
    assert_error(response, 405, "Method not allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_options_tells_the_methods_without_a_token(user: Account) -> None:
    response = user.client.options(user.tasks)
    assert response.status_code == 200
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


def test_every_answer_bears_the_headers_for_browsers(user: Account) -> None:
    task = user.create()
    for response in (
        user.request("GET"),
        user.request("DELETE", f"/{task['id']}"),
        user.client.post("/api/auth/login", json={"email": user.email, "password": PASSWORD}),
        user.client.post("/api/auth/login", json={}),
        user.client.get(user.tasks),
        user.client.get("/nope"),
        user.client.put("/health"),
        user.client.options(user.tasks),
        user.client.get("/health"),
    ):
        headers = response.headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        policy = "default-src 'none'; frame-ancestors 'none'"
        assert headers["Content-Security-Policy"] == policy


def test_head_answers_as_get_without_a_body(user: Account) -> None:
    task = user.create()
    for path in ("", f"/{task['id']}"):
        head, get = user.request("HEAD", path), user.request("GET", path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize("id", ["a", "A-1._z", "x" * 128])
def test_a_clients_request_id_is_kept_and_logged(service: Service, id: str) -> None:
    id = id if len(id) == 128 else f"{id}{uuid.uuid4().hex}"
    with service.client() as client:
        response = client.get("/health", headers={"X-Request-ID": id})
    assert response.headers["X-Request-ID"] == id
    wait_until("the log line", lambda: f'"{id}"' in service.log.read_text())


@pytest.mark.parametrize("id", ["", "x" * 129, "a b", "a\tb", "é", "a/b", 'a"', "{}", "a,b"])
def test_another_request_id_is_replaced(client: httpx.Client, id: str) -> None:
    headers = {b"X-Request-ID": id.encode("latin-1")}
    answers = [client.get("/health", headers=headers) for _ in range(3)]
    ids = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(ids) == 3
    assert all(len(new) == 32 and new.isalnum() for new in ids)


def test_a_defect_is_logged_and_tells_the_client_nothing(
    make_service: MakeService, own_url: str
) -> None:
    """A schema that isn't what the statement expects: as good as any defect of ours."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    with service.client() as client:
        user = Account.insert(client, own_url)
        with psycopg.connect(own_url, autocommit=True) as conn:
            conn.execute("ALTER TABLE tasks RENAME COLUMN title TO name")
        response = user.request("GET", headers={"X-Request-ID": "a-defect"})
        assert_error(response, 500, "Internal server error")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert_error(user.request("POST", json={"title": "t"}), 500, "Internal server error")
        assert client.get("/health").status_code == 200
    wait_until("the traceback", lambda: '"exception":' in service.log.read_text())
    line = next(line for line in service.log.read_text().splitlines() if '"exception":' in line)
    assert "a-defect" in line


def test_an_integrity_error_that_nobody_expects_is_a_defect(
    make_service: MakeService, own_url: str
) -> None:
    """Only the constraints that the code names are answers."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    with service.client() as client, psycopg.connect(own_url, autocommit=True) as conn:
        user = Account.insert(client, conn)
        conn.execute("CREATE UNIQUE INDEX surprise ON users ((true))")
        credentials = {"email": "new@example.com", "password": PASSWORD}
        assert_error(client.post("/api/auth/signup", json=credentials), 500)
        conn.execute("CREATE TABLE nobodies (id uuid PRIMARY KEY)")
        conn.execute("ALTER TABLE tasks ADD FOREIGN KEY (id) REFERENCES nobodies")
        assert_error(user.request("POST", json={"title": "t"}), 500)


def test_secrets_stay_out_of_the_log(service: Service, user: Account) -> None:
    user.create("a title nobody else may read")
    user.client.post("/api/auth/login", json={"email": user.email, "password": "wrong-password"})
    log = service.log.read_text()
    for secret in (PASSWORD, "wrong-password", user.token, "a title nobody", user.email):
        assert secret not in log
