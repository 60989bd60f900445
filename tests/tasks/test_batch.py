"""POST …/tasks/batch: many operations, each as the single request would be."""

from __future__ import annotations

import json
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_faults, assert_task
from tests.support.feeds import Follower, read_list
from tests.support.fixtures import MakeService
from tests.support.service import PATIENT

SEED = 14


def send(user: Account, *operations: Any, **members: Any) -> httpx.Response:
    return user.request("POST", "/batch", json={"operations": operations, **members})


def results(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["results"]


def test_each_operation_is_as_the_single_request(user: Account) -> None:
    changed, stale, gone, kept = (user.create(title) for title in ("changed", "stale", "gone", "k"))
    own = str(uuid.uuid4())
    missing = str(uuid.uuid4())
    tag = user.request("GET", f"/{changed['id']}").headers["ETag"]
    done = results(
        send(
            user,
            {"op": "create", "title": " new ", "description": "d"},
            {"op": "create", "id": own.upper(), "title": "own", "completed": True},
            {"op": "create", "id": kept["id"], "title": "there"},
            {"op": "update", "id": changed["id"], "completed": True, "if_match": tag},
            {"op": "update", "id": stale["id"], "title": "t", "if_match": '"x"'},
            {"op": "update", "id": missing, "title": "t"},
            {"op": "delete", "id": gone["id"], "if_match": "*"},
            {"op": "delete", "id": str(uuid.uuid4())},
        )
    )
    assert [result["status"] for result in done] == [201, 201, 412, 200, 412, 404, 204, 404]
    new, mine, there, now, current = (done[index] for index in (0, 1, 2, 3, 4))
    for result in (new, mine, now):
        assert_task(result["task"])
    assert (new["task"]["title"], new["task"]["description"]) == ("new", "d")
    assert (mine["task"]["id"], mine["task"]["completed"]) == (own, True)
    at = now["task"]["updated_at"]
    assert now["task"] == {**changed, "completed": True, "completed_at": at, "updated_at": at}
    assert now["task"]["updated_at"] > changed["updated_at"]
    assert there == {"status": 412, "current": kept}
    assert current == {"status": 412, "current": stale}
    assert done[5:] == [{"status": 404}, {"status": 204}, {"status": 404}]
    expected = {task["id"]: task for task in (new["task"], mine["task"], now["task"], stale, kept)}
    assert read_list(user) == expected


def test_an_atomic_batch_is_all_or_nothing(user: Account) -> None:
    kept, gone = user.create("kept"), user.create("gone")
    before = read_list(user)
    operations = [
        {"op": "create", "title": "new"},
        {"op": "update", "id": kept["id"], "title": "renamed"},
        {"op": "delete", "id": gone["id"]},
    ]
    refused = send(user, *operations, {"op": "delete", "id": str(uuid.uuid4())}, atomic=True)
    assert_error(refused, 409)
    assert [result["status"] for result in refused.json()["results"]] == [201, 200, 204, 404]
    assert not any("task" in result for result in refused.json()["results"])
    assert read_list(user) == before
    stale = {"op": "update", "id": kept["id"], "title": "t", "if_match": '"x"'}
    refused = send(user, operations[0], stale, atomic=True)
    assert_error(refused, 409)
    assert refused.json()["results"][1] == {"status": 412, "current": kept}
    assert read_list(user) == before
    done = results(send(user, *operations, atomic=True))
    assert [result["status"] for result in done] == [201, 200, 204]
    assert {task["title"] for task in read_list(user).values()} == {"new", "renamed"}


def test_a_thousand_operations(user: Account) -> None:
    created = results(
        send(user, *({"op": "create", "title": f"task {number}"} for number in range(1000)))
    )
    assert [result["task"]["title"] for result in created] == [f"task {n}" for n in range(1000)]
    ids = [result["task"]["id"] for result in created]
    changed = results(send(user, *({"op": "update", "id": id, "completed": True} for id in ids)))
    assert all(result["task"]["completed"] for result in changed)
    deleted = results(send(user, *({"op": "delete", "id": id} for id in ids)))
    assert {result["status"] for result in deleted} == {204}
    too_many = [{"op": "create", "title": "t"}] * 1001
    assert_faults(send(user, *too_many), ["body", "operations"])


def test_an_empty_batch_does_nothing(user: Account) -> None:
    assert results(send(user)) == []
    assert results(send(user, atomic=True)) == []


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        ({"op": "create"}, "title"),
        ({"op": "create", "title": " "}, "title"),
        ({"op": "create", "title": "t", "id": "1"}, "id"),
        ({"op": "create", "title": "t", "id": 1}, "id"),
        ({"op": "create", "title": "t", "completed": "yes"}, "completed"),
        ({"op": "update", "title": "t"}, "id"),
        ({"op": "update", "id": str(uuid.uuid4()), "title": None}, "title"),
        ({"op": "update", "id": str(uuid.uuid4()), "if_match": 1}, "if_match"),
        ({"op": "delete"}, "id"),
        ({"op": "delete", "id": None}, "id"),
        ({"title": "t"}, "op"),
        ({"op": "toggle"}, "op"),
        ({"op": ["create"]}, "op"),
        ("create", None),
        (None, None),
        ([], None),
    ],
)
def test_a_malformed_operation_is_named(user: Account, operation: Any, member: str | None) -> None:
    good = {"op": "create", "title": "good"}
    response = send(user, good, operation, good)
    assert_faults_at(response, ["body", "operations", 1, *([member] if member else [])])
    assert user.request("GET").json() == []


def assert_faults_at(response: httpx.Response, loc: list[str | int]) -> None:
    assert_error(response, 422)
    assert [entry["loc"] for entry in response.json()["detail"]] == [loc]


def test_an_id_that_appears_twice_is_named(user: Account) -> None:
    task = user.create("there")
    response = send(
        user,
        {"op": "update", "id": task["id"], "title": "t"},
        {"op": "delete", "id": task["id"].upper()},
    )
    assert_faults(response, ["body", "operations", 1, "id"])
    assert user.request("GET").json() == [task]


@pytest.mark.parametrize(
    "body", [{}, {"operations": None}, {"operations": {}}, {"operations": [], "atomic": 1}]
)
def test_a_malformed_batch_is_refused(user: Account, body: Any) -> None:
    assert_error(user.request("POST", "/batch", json=body), 422)


def test_a_batch_may_have_a_mebibyte(user: Account) -> None:
    def body(size: int) -> bytes:
        text = {"op": "create", "title": "t", "description": "x" * 9000}
        filled = {"operations": [text] * 110, "padding": ""}
        filled["padding"] = "x" * (size - len(json.dumps(filled)))
        return json.dumps(filled).encode()

    headers = {"Content-Type": "application/json"}
    largest = user.request("POST", "/batch", content=body(2**20), headers=headers)
    assert len(results(largest)) == 110
    larger = user.request("POST", "/batch", content=body(2**20 + 1), headers=headers)
    assert_error(larger, 413)


def test_no_answer_exceeds_what_a_list_may_have(user: Account) -> None:
    """Else one small request would be answered with 60 MB."""
    texts = ["\u0001" * 10_000] * 15
    ids = []
    for _ in range(3):
        created = [{"op": "create", "title": "t", "description": text} for text in texts]
        ids += [result["task"]["id"] for result in results(send(user, *created))]
    before = read_list(user)
    refused = send(user, *({"op": "update", "id": id, "title": "new"} for id in ids))
    assert_error(refused, 413, "The batch's tasks are larger than 2 MiB: send fewer operations")
    assert read_list(user) == before
    done = send(user, *({"op": "delete", "id": id} for id in ids))
    assert {result["status"] for result in results(done)} == {204}


def test_another_users_tasks_are_not_found(user: Account, other_user: Account) -> None:
    [theirs] = other_user.request("GET").json()
    done = results(
        send(
            user,
            {"op": "update", "id": theirs["id"], "title": "mine"},
            {"op": "create", "title": "t"},
        )
    )
    assert [result["status"] for result in done] == [404, 201]
    assert results(send(user, {"op": "delete", "id": theirs["id"]})) == [{"status": 404}]
    assert other_user.request("GET").json() == [theirs]


def test_it_appears_in_the_feed(user: Account) -> None:
    follower = Follower(user)
    ids = [str(uuid.uuid4()) for _ in range(20)]
    send(user, *({"op": "create", "id": id, "title": "t"} for id in ids))
    send(
        user,
        *({"op": "update", "id": id, "completed": True} for id in ids[::2]),
        *({"op": "delete", "id": id} for id in ids[1::2]),
    )
    follower.catch_up()
    assert follower.tasks == read_list(user)


def run_overlapping(user: Account, number: int, chance: random.Random) -> list[httpx.Response]:
    """Send this many batches, eight at a time, that create, change and delete the same 20 tasks."""
    ids = [str(uuid.uuid4()) for _ in range(20)]

    def one(_: int) -> httpx.Response:
        chosen = chance.sample(ids, 8)
        operations = [
            {"op": chance.choice(("create", "update", "delete")), "id": id, "title": f"{mark}"}
            for id, mark in zip(chosen, range(8), strict=True)
        ]
        return send(user, *operations, atomic=chance.random() < 0.5)

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(number)))


def check_overlapping(make_service: MakeService, url: str, number: int) -> None:
    service = make_service(DATABASE_URL=url, **PATIENT)
    service.start()
    with service.client() as client:
        user = Account.insert(client, url)
        follower = Follower(user)
        responses = run_overlapping(user, number, random.Random(SEED))
        assert {response.status_code for response in responses} <= {200, 409}
        refused = [response for response in responses if response.status_code == 409]
        assert refused
        assert not any("task" in result for one in refused for result in one.json()["results"])
        follower.catch_up()
        assert follower.tasks == read_list(user)
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row == (0,)


@pytest.mark.one_server
def test_overlapping_batches_neither_fail_nor_deadlock(
    make_service: MakeService, own_url: str
) -> None:
    check_overlapping(make_service, own_url, 300)


@pytest.mark.long
def test_ten_thousand_overlapping_batches(make_service: MakeService, own_url: str) -> None:
    check_overlapping(make_service, own_url, 10_000)
