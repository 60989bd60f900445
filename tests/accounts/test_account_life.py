"""An account's whole life: show it, change its password, log out everywhere, delete it."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest

from tests.support.accounts import PASSWORD, Account, log_in, sign_up
from tests.support.checks import assert_error, assert_faults
from tests.support.fixtures import MakeService
from tests.support.service import ROOT, SECRET, environment, run_command, wait_until

Connection = psycopg.Connection[Any]
NEW_PASSWORD = "another long password"
ACCOUNT = "/api/auth/account"


def show(user: Account) -> httpx.Response:
    return user.client.get(ACCOUNT, headers=user.headers)


def change(user: Account, password: str = PASSWORD, new: str = NEW_PASSWORD) -> httpx.Response:
    body = {"password": password, "new_password": new}
    return user.client.put("/api/auth/password", json=body, headers=user.headers)


def revoke(user: Account) -> httpx.Response:
    return user.client.delete("/api/auth/tokens", headers=user.headers)


def close(user: Account, password: str = PASSWORD) -> httpx.Response:
    body = {"password": password}
    return user.client.request("DELETE", ACCOUNT, json=body, headers=user.headers)


def with_token(user: Account, token: str) -> Account:
    return Account(user.client, user.id, user.email, token)


def test_an_account_is_shown_with_the_number_of_its_tasks(user: Account) -> None:
    assert show(user).json()["tasks"] == 0
    for _ in range(3):
        user.create()
    user.request("DELETE", f"/{user.request('GET').json()[0]['id']}")
    user.request(
        "POST", "/batch", json={"operations": [{"op": "create", "title": "t"} for _ in range(5)]}
    )
    account = show(user)
    assert account.status_code == 200
    assert account.json() == {
        "user_id": user.id,
        "email": user.email,
        "created_at": account.json()["created_at"],
        "tasks": 7,
    }
    assert account.json()["created_at"].endswith("Z")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_they_need_a_token(client: httpx.Client, method: str) -> None:
    assert_error(client.request(method, ACCOUNT), 401, "Missing authentication token")
    assert_error(client.delete("/api/auth/tokens"), 401, "Missing authentication token")
    assert_error(client.put("/api/auth/password"), 401, "Missing authentication token")
    headers = {"Authorization": "Bearer x"}
    assert_error(client.request(method, ACCOUNT, headers=headers), 401, "Invalid token")


def test_a_new_password_revokes_every_earlier_token(client: httpx.Client) -> None:
    user = Account.sign_up(client)
    task = user.create()
    response = change(user)
    assert response.status_code == 200, response.text
    login = response.json()
    assert login["user_id"] == user.id
    assert login["token"] == login["access_token"]
    assert_error(user.request("GET"), 401, "Invalid token")
    assert_error(show(user), 401, "Invalid token")
    assert with_token(user, login["token"]).request("GET").json() == [task]
    assert_error(log_in(client, user.email), 401, "Invalid credentials")
    again = log_in(client, user.email, NEW_PASSWORD).json()["token"]
    assert with_token(user, again).request("GET").json() == [task]


def test_a_wrong_password_changes_nothing_and_counts_as_a_failed_login(
    client: httpx.Client,
) -> None:
    user = Account.sign_up(client)
    for _ in range(3):
        assert_error(change(user, "wrong password"), 401, "Invalid credentials")
    for _ in range(2):
        assert_error(close(user, "wrong password"), 401, "Invalid credentials")
    assert_error(change(user), 429)
    assert_error(log_in(client, user.email), 429)
    assert user.request("GET").status_code == 200


def test_the_passwords_are_checked(user: Account) -> None:
    assert_faults(change(user, new="short"), ["body", "new_password"])
    empty = user.client.put("/api/auth/password", json={}, headers=user.headers)
    assert_faults(empty, ["body", "password"], ["body", "new_password"], missing=True)
    no_body = user.client.request("DELETE", ACCOUNT, headers=user.headers)
    assert_faults(no_body, ["body", "password"], missing=True)


def test_logging_out_everywhere_revokes_all_tokens_until_now(
    user: Account, other_user: Account
) -> None:
    other = log_in(user.client, user.email).json()["token"]
    task = user.create()
    assert revoke(user).status_code == 204
    for token in (user.token, other):
        old = with_token(user, token)
        assert_error(old.request("GET"), 401, "Invalid token")
        assert_error(old.request("POST", json={"title": "t"}), 401, "Invalid token")
        assert_error(old.request("PUT", f"/{task['id']}", json={"title": "x"}), 401)
        assert_error(old.request("DELETE", f"/{task['id']}"), 401)
        assert_error(old.request("GET", "/changes"), 401)
        assert_error(revoke(old), 401)
    new = with_token(user, log_in(user.client, user.email).json()["token"])
    assert new.request("GET").json() == [task]
    assert other_user.request("GET").status_code == 200


def test_a_token_without_its_time_is_revoked_too(user: Account) -> None:
    claims = {"sub": user.id, "exp": int(time.time()) + 3600}
    undated = with_token(user, jwt.encode(claims, SECRET, algorithm="HS256"))
    assert undated.request("GET").status_code == 200
    assert revoke(user).status_code == 204
    assert_error(undated.request("GET"), 401, "Invalid token")


def test_a_revoked_token_is_good_for_nothing_from_the_next_request_on(
    user: Account, shared_service: MakeService
) -> None:
    """16 connections use it when it is revoked: none of 1,000 succeeds.

    They lead to two services with two workers each, as on two machines.
    """
    revoked = False
    late: list[int] = []

    def use(number: int) -> int:
        after = revoked
        client = clients[number % 2]
        status = client.post(user.tasks, json={"title": "t"}, headers=user.headers).status_code
        if after:
            late.append(status)
        return status

    with shared_service(TRUSTED_PROXIES="1").client() as other, ThreadPoolExecutor(16) as pool:
        clients = (user.client, other)
        before = list(pool.map(use, range(100)))
        assert 201 in before[::2]
        assert 201 in before[1::2]
        running = [pool.submit(use, number) for number in range(100)]
        assert revoke(user).status_code == 204
        revoked = True
        list(pool.map(use, range(1000)))
        assert {future.result() for future in running} <= {201, 401, 429}
    assert len(late) >= 1000
    assert set(late) <= {401, 429}
    assert late.count(401) > 100


def test_a_closed_account_is_gone_at_once(client: httpx.Client, database: Connection) -> None:
    user = Account.sign_up(client)
    task = user.create()
    other = log_in(client, user.email).json()["token"]
    assert close(user).status_code == 204
    for token in (user.token, other):
        assert_error(with_token(user, token).request("GET"), 401, "Invalid token")
        assert_error(with_token(user, token).request("POST", json={"title": "t"}), 401)
    assert_error(show(user), 401, "Invalid token")
    assert_error(log_in(client, user.email), 401, "Invalid credentials")
    # The address is free
    assert sign_up(client, user.email).status_code == 201
    login = log_in(client, user.email).json()
    assert login["user_id"] != user.id
    successor = Account(client, login["user_id"], user.email, login["token"])
    assert successor.request("GET").json() == []
    assert successor.request("GET", f"/{task['id']}").status_code == 404


def test_the_purge_deletes_a_closed_account(
    client: httpx.Client, database: Connection, database_url: str
) -> None:
    user = Account.sign_up(client)
    kept = Account.insert(client, database)
    kept.create("kept")
    for account in (user, kept):
        operations = [{"op": "create", "title": "t"} for _ in range(250)]
        account.request("POST", "/batch", json={"operations": operations})
        account.request("POST", json={"title": "t"}, headers={"Idempotency-Key": "k"})
        gone = account.create()
        account.request("DELETE", f"/{gone['id']}")
    assert close(user).status_code == 204
    done = run_command("-m", "taskapi", "purge", DATABASE_URL=database_url, JWT_SECRET=SECRET)
    assert done.returncode == 0, done.stderr
    for table in ("tasks", "clocks", "deleted_tasks", "idempotency_keys"):
        counts = dict(
            database.execute(
                f"SELECT user_id::text, count(*) FROM {table} GROUP BY user_id".encode()
            ).fetchall()
        )
        assert user.id not in counts, table
        assert counts[kept.id] > 0, table
    assert database.execute("SELECT id FROM users WHERE id = %s", [user.id]).fetchall() == []
    # Its tokens don't come back to life, nor does the user
    assert_error(user.request("POST", json={"title": "t"}), 401, "Invalid token")
    assert len(kept.request("GET").json()) == 252


def test_a_purge_that_is_killed_goes_on_where_it_was(
    own_url: str, make_service: MakeService, tmp_path: Path
) -> None:
    """It deletes by 1,000, and waits for a lock on the last task when it is killed."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    count = "SELECT count(*) FROM tasks WHERE user_id = %s"
    command = [sys.executable, "-m", "taskapi", "purge"]
    variables = environment(DATABASE_URL=own_url, JWT_SECRET=SECRET)
    with (
        service.client() as client,
        psycopg.connect(own_url, autocommit=True) as database,
        psycopg.connect(own_url) as blocker,
        (tmp_path / "purge.log").open("wb") as log,
    ):
        user = Account.insert(client, database)
        fill = "INSERT INTO tasks (user_id, title) SELECT %s, 't' FROM generate_series(1, 2500)"
        database.execute(fill, [user.id])

        def left() -> int:
            [(tasks,)] = database.execute(count, [user.id]).fetchall()
            return int(tasks)

        assert close(user).status_code == 204
        last = "SELECT id FROM tasks WHERE user_id = %s ORDER BY id DESC LIMIT 1 FOR UPDATE"
        blocker.execute(last, [user.id])
        purge = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)
        wait_until("two thousand to be deleted", lambda: left() == 500)
        purge.kill()
        purge.wait()
        assert left() == 500
        blocker.rollback()
        purged = run_command("-m", "taskapi", "purge", DATABASE_URL=own_url, JWT_SECRET=SECRET)
        assert purged.returncode == 0
        assert left() == 0
        assert database.execute("SELECT id FROM users WHERE id = %s", [user.id]).fetchall() == []


def test_a_user_that_a_dba_deletes_has_no_valid_token(user: Account, database: Connection) -> None:
    user.create()
    database.execute("DELETE FROM users WHERE id = %s", [user.id])
    assert_error(user.request("GET"), 401, "Invalid token")
    assert_error(user.request("PUT", f"/{uuid.uuid4()}", json={"title": "t"}), 401)


def test_a_revocation_goes_when_no_token_of_its_time_is_valid(
    user: Account, other_user: Account, database: Connection, database_url: str
) -> None:
    assert revoke(user).status_code == revoke(other_user).status_code == 204
    database.execute(
        "UPDATE revocations SET tokens_not_before = now() - interval '91 days' WHERE user_id = %s",
        [user.id],
    )
    done = run_command("-m", "taskapi", "purge", DATABASE_URL=database_url, JWT_SECRET=SECRET)
    assert done.returncode == 0, done.stderr
    kept = {id for (id,) in database.execute("SELECT user_id::text FROM revocations").fetchall()}
    assert user.id not in kept
    assert other_user.id in kept
