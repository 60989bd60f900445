"""Sign-up and login."""

from __future__ import annotations

import statistics
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import jwt
import psycopg
import pytest

from tests.support.accounts import LOGIN, PASSWORD, SIGNUP, Account, log_in, new_email, sign_up
from tests.support.checks import UUID, assert_error, assert_faults
from tests.support.fixtures import MakeService
from tests.support.patience import until_served
from tests.support.service import SECRET


def test_it_creates_an_account(client: httpx.Client) -> None:
    email = new_email()
    response = sign_up(client, email)
    assert response.status_code == 201
    body = response.json()
    assert set(body) == {"user_id", "email"}
    assert UUID.fullmatch(body["user_id"])
    assert body["email"] == email


def test_it_gives_a_token(client: httpx.Client) -> None:
    email = new_email()
    user_id = sign_up(client, email).json()["user_id"]
    response = log_in(client, email)
    assert response.status_code == 200
    body = response.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 604_800
    assert (body["user_id"], body["email"]) == (user_id, email)
    others = {"token", "access_token", "token_type", "expires_in"}
    assert set(body) == {"user_id", "email"} | others
    # Where OAuth's clients look for it (RFC 6749, 5.1).
    assert body["access_token"] == body["token"]
    claims = jwt.decode(body["token"], SECRET, algorithms=["HS256"])
    assert claims["sub"] == user_id
    assert claims["email"] == email
    assert 604_799 < claims["exp"] - claims["iat"] <= 604_800
    assert jwt.get_unverified_header(body["token"])["alg"] == "HS256"


def test_an_address_is_compared_without_case_and_stored_as_typed(client: httpx.Client) -> None:
    email = "Ünï." + new_email().capitalize()
    assert sign_up(client, email).json()["email"] == email
    assert_error(sign_up(client, email.swapcase()), 409, "Email already registered")
    for typed in (email, email.lower(), email.upper()):
        assert log_in(client, typed).json()["email"] == email


def test_the_constraint_decides_who_comes_first(client: httpx.Client) -> None:
    email = new_email()
    with ThreadPoolExecutor(8) as threads:
        send = partial(until_served, partial(sign_up, client, email))
        answers = [future.result() for future in [threads.submit(send) for _ in range(8)]]
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c.d",
        "a@b.c\n",
        "x" * 253 + "@b",
        "a\0@b.c",
        5,
        None,
        [],
    ],
)
def test_it_rejects_a_bad_address(client: httpx.Client, email: object) -> None:
    response = client.post(SIGNUP, json={"email": email, "password": PASSWORD})
    assert_error(response, 422)
    assert {tuple(entry["loc"]) for entry in response.json()["detail"]} == {("body", "email")}


def test_it_takes_the_longest_and_the_shortest_address(client: httpx.Client) -> None:
    longest = uuid.uuid4().hex + "x" * 220 + "@b"
    assert len(longest) == 254
    assert sign_up(client, longest).status_code == 201
    assert log_in(client, longest).status_code == 200
    assert sign_up(client, f"{uuid.uuid4().hex[:8]}@b").status_code == 201


@pytest.mark.parametrize("password", ["", "1234567", "x" * 129, 12345678, None, ["12345678"]])
def test_it_rejects_a_bad_password(client: httpx.Client, password: object) -> None:
    response = client.post(SIGNUP, json={"email": new_email(), "password": password})
    assert_faults(response, ["body", "password"])


@pytest.mark.parametrize("password", ["        ", "𝄞" * 128, "\0\0\0\0\0\0\0\0", "\n\t'\"\\%s{}x"])
def test_a_password_may_hold_any_characters(client: httpx.Client, password: str) -> None:
    email = new_email()
    assert sign_up(client, email, password).status_code == 201
    assert log_in(client, email, password).status_code == 200
    assert_error(log_in(client, email, password + "x"), 401, "Invalid credentials")


@pytest.mark.parametrize("route", [SIGNUP, LOGIN])
def test_it_rejects_missing_members(client: httpx.Client, route: str) -> None:
    response = client.post(route, json={})
    assert_faults(response, ["body", "email"], ["body", "password"], missing=True)


def test_wrong_password_and_unknown_address_are_one_answer(client: httpx.Client) -> None:
    email = new_email()
    sign_up(client, email)
    answers = [log_in(client, email, "wrong"), log_in(client, new_email()), log_in(client, "?")]
    for answer in answers:
        assert_error(answer, 401, "Invalid credentials")
    bodies = {answer.content for answer in answers}
    assert len(bodies) == 1


def test_wrong_password_and_unknown_address_cost_the_same_time(
    shared_service: MakeService,
) -> None:
    """Else the time would tell who has an account: without the hash it is a tenth."""
    service = shared_service(TRUSTED_PROXIES="1")
    wrong, unknown = [], []
    with service.client() as client:
        for number in range(9):
            # As many clients, so that none fails too often.
            client.headers["X-Forwarded-For"] = f"192.0.2.{number}"
            email = new_email()
            sign_up(client, email)
            wrong.append(log_in(client, email, "wrong").elapsed.total_seconds())
            unknown.append(log_in(client, new_email()).elapsed.total_seconds())
    assert 1 / 3 < statistics.median(unknown) / statistics.median(wrong) < 3


def test_the_password_is_kept_as_an_argon2id_hash(
    client: httpx.Client, database: psycopg.Connection
) -> None:
    user_id = sign_up(client, new_email()).json()["user_id"]
    row = database.execute("SELECT password_hash FROM users WHERE id = %s", [user_id]).fetchone()
    assert row is not None
    assert row[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_hash_that_is_none_is_a_wrong_password(
    client: httpx.Client, database: psycopg.Connection
) -> None:
    """What an import of users from elsewhere may leave is no reason for a 500."""
    email = new_email()
    user_id = sign_up(client, email).json()["user_id"]
    database.execute("UPDATE users SET password_hash = '!' WHERE id = %s", [user_id])
    assert_error(log_in(client, email), 401, "Invalid credentials")


def test_a_deleted_account_takes_its_tasks_along_and_its_token_makes_none(
    user: Account, database: psycopg.Connection
) -> None:
    user.create()
    database.execute("DELETE FROM users WHERE id = %s", [user.id])
    rows = database.execute("SELECT id FROM tasks WHERE user_id = %s", [user.id]).fetchall()
    assert rows == []
    assert_error(user.request("POST", json={"title": "t"}), 401, "Invalid token")
    assert_error(user.request("GET"), 401, "Invalid token")
