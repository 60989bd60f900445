"""CORS, for the listed origins only."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.fixtures import MakeService

APP = "https://app.example.com"
JSON = {"Content-Type": "application/json"}
LOCAL = "http://localhost:3000"
# It would be a pattern to Flask-CORS, which matches one character of the brackets.
IPV6 = "http://[::1]:3000"


@pytest.fixture
def cors_user(shared_service: MakeService, database: psycopg.Connection) -> Iterator[Account]:
    with shared_service(CORS_ORIGINS=f" {APP}, {LOCAL},{IPV6}").client() as client:
        yield Account.insert(client, database)


def cors_headers(response: httpx.Response) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control-")}


@pytest.mark.parametrize("origin", [APP, LOCAL, IPV6])
def test_a_listed_origin_may_read_the_answer(cors_user: Account, origin: str) -> None:
    for response in (
        cors_user.request("GET", headers={"Origin": origin}),
        cors_user.client.get(cors_user.tasks, headers={"Origin": origin}),
        cors_user.client.get("/nope", headers={"Origin": origin}),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert "Origin" in response.headers["Vary"]
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        exposed = response.headers["Access-Control-Expose-Headers"]
        assert {"Location", "X-Request-ID", "Retry-After"} <= set(exposed.split(", "))
        assert {"ETag", "Link", "Idempotency-Replayed"} <= set(exposed.split(", "))


def test_the_root_varies_by_origin_and_by_accept(cors_user: Account) -> None:
    response = cors_user.client.get("/", headers={"Origin": APP})
    assert set(response.headers["Vary"].split(", ")) == {"Accept", "Origin"}


def test_a_listed_origin_may_read_every_error(make_service: MakeService, own_url: str) -> None:
    service = make_service(DATABASE_URL=own_url, CORS_ORIGINS=APP, DB_STATEMENT_TIMEOUT="0.5")
    service.start()
    origin = {"Origin": APP}
    with service.client() as client, psycopg.connect(own_url, autocommit=True) as dba:
        user = Account.insert(client, dba)
        wrong = {"email": user.email, "password": "wrong"}
        for _ in range(5):
            refused = client.post("/api/auth/login", json=wrong, headers=origin)
        answers = [
            refused,
            client.post("/api/auth/login", json=wrong, headers=origin),
            user.request("POST", json={}, headers=origin),
            user.request("GET", "/x", headers=origin),
            user.request("GET", f"/{user.id}", headers=origin),
            client.get(f"/api/{uuid.uuid4()}/tasks", headers=origin | user.headers),
            client.put("/health", headers=origin),
            client.post(user.tasks, content="{", headers=origin | user.headers | JSON),
        ]
        with dba.transaction():
            dba.execute("LOCK TABLE tasks")
            answers.append(user.request("GET", headers=origin))
        dba.execute("ALTER TABLE tasks RENAME COLUMN title TO name")
        answers.append(user.request("GET", headers=origin))
    statuses = [answer.status_code for answer in answers]
    assert statuses == [401, 429, 422, 422, 404, 403, 405, 400, 503, 500]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == APP, answer.status_code
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_preflight_needs_no_token(cors_user: Account, method: str) -> None:
    headers = {"authorization", "content-type", "if-match", "idempotency-key"}
    response = cors_user.client.options(
        f"{cors_user.tasks}/x",
        headers={
            "Origin": APP,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": ", ".join(sorted(headers)),
        },
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert method in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in response.headers["Vary"]
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    assert headers <= set(allowed.split(", "))
    assert int(response.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "https://app.example.com.evil.com",
        "https://app.example.com:8443",
        "http://:",
        "http://:3000",
        "http://[::1]:30000",
        "https://appXexample.com",
        "http://app.example.com",
        "https://app.example.com:444",
        "null",
    ],
)
def test_another_origin_may_not(cors_user: Account, origin: str) -> None:
    response = cors_user.request("GET", headers={"Origin": origin})
    assert response.status_code == 200
    assert cors_headers(response) == set()


def test_a_request_without_an_origin_gets_no_cors_headers(cors_user: Account) -> None:
    for response in (
        cors_user.request("GET"),
        cors_user.request("OPTIONS"),
        cors_user.request("POST", json={}),
        cors_user.client.get(cors_user.tasks),
        cors_user.client.get("/nope"),
    ):
        assert cors_headers(response) == set()


def test_without_origins_there_are_no_cors_headers(user: Account) -> None:
    preflight = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    assert cors_headers(user.client.options(user.tasks, headers=preflight)) == set()
    assert cors_headers(user.request("GET", headers={"Origin": APP})) == set()
