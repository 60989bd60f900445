"""MAX_TASKS: how many tasks a user may have, exact whatever is written at once."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import PATIENT

UNLIMITED = {**PATIENT, "DB_POOL_USER_MAX": "100"}
FULL = "You have as many tasks as you may: delete some first"


def create(user: Account, number: int) -> httpx.Response:
    """Create a task in one of the four ways."""
    body: dict[str, Any] = {"title": "t"}
    if number % 4 == 0:
        return user.request("POST", json=body)
    if number % 4 == 1:
        return user.request("POST", json=body, headers={"Idempotency-Key": f"key{number}"})
    if number % 4 == 2:
        return user.request("PUT", f"/{uuid.uuid4()}", json=body, headers={"If-None-Match": "*"})
    return user.request("POST", "/batch", json={"operations": [{"op": "create", **body}]})


@pytest.mark.one_server
def test_it_is_exact_under_concurrency(make_service: MakeService, own_url: str) -> None:
    service = make_service(DATABASE_URL=own_url, MAX_TASKS="50", **UNLIMITED)
    service.start()
    with service.client() as client:
        user = Account.insert(client, own_url)
        for _ in range(3):
            with ThreadPoolExecutor(16) as pool:
                responses = list(pool.map(lambda number: create(user, number), range(100)))
            done = [response for response in responses if response.status_code in (200, 201)]
            refused = [response for response in responses if response not in done]
            tasks = user.request("GET").json()
            assert len(tasks) == 50
            for response in refused:
                assert_error(response, 403, FULL)
            # Others have their own limit
            assert Account.insert(client, own_url).create()
            # A retry of a key that created a task is still a replay
            user.request("DELETE", f"/{tasks[0]['id']}")
            assert user.request("POST", json={"title": "t"}).status_code == 201
            assert_error(user.request("POST", json={"title": "t"}), 403, FULL)
            for task in tasks[1:11]:
                assert user.request("DELETE", f"/{task['id']}").status_code == 204
            with psycopg.connect(own_url) as conn:
                row = conn.execute(
                    "SELECT tasks FROM clocks WHERE user_id = %s", [user.id]
                ).fetchone()
            assert row == (40,)


def test_a_batch_beyond_it_writes_nothing(make_service: MakeService, own_url: str) -> None:
    service = make_service(DATABASE_URL=own_url, MAX_TASKS="5")
    service.start()
    with service.client() as client:
        user = Account.insert(client, own_url)
        user.create()
        operations = [{"op": "create", "title": "t"} for _ in range(5)]
        refused = user.request("POST", "/batch", json={"operations": operations})
        assert_error(refused, 403, FULL)
        assert len(user.request("GET").json()) == 1
        swapped = [{"op": "delete", "id": user.request("GET").json()[0]["id"]}, *operations]
        assert user.request("POST", "/batch", json={"operations": swapped}).status_code == 200
        assert len(user.request("GET").json()) == 5
        # What a DBA types has no limit
        with psycopg.connect(own_url) as conn:
            conn.execute("INSERT INTO tasks (user_id, title) VALUES (%s, 'typed')", [user.id])
        assert len(user.request("GET").json()) == 6
        assert_error(user.request("POST", json={"title": "t"}), 403, FULL)
