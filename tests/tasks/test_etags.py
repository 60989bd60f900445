"""Entity tags, If-Match and If-None-Match (RFC 9110)."""

from __future__ import annotations

import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_task
from tests.support.fixtures import MakeService
from tests.support.service import PATIENT, Service, wait_until

STRONG = re.compile(r'"[\x21\x23-\x7e]+"')
CHANGED = "The task has changed since"
WRITES = [
    ("PUT", "", {"title": "new"}),
    ("PATCH", "", {"title": "new"}),
    ("PATCH", "", {}),
    ("PATCH", "/complete", None),
    ("PATCH", "/complete", {"completed": True}),
    ("DELETE", "", None),
]


def test_every_answer_that_is_one_task_has_a_tag_of_its_version(user: Account) -> None:
    created = user.request("POST", json={"title": "t"})
    path = f"/{created.json()['id']}"
    answers = [created]
    for method, below, body in WRITES[:-1]:
        for _ in range(2):
            answers.append(user.request(method, path + below, json=body))
            read = user.request("GET", path)
            assert read.json() == answers[-1].json()
            assert read.headers["ETag"] == answers[-1].headers["ETag"]
    tags = [answer.headers["ETag"] for answer in answers]
    assert len(set(tags)) == len(tags)
    for answer in answers:
        assert_task(answer.json())
        assert STRONG.fullmatch(answer.headers["ETag"])


def test_no_tag_comes_twice(user: Account, database: psycopg.Connection) -> None:
    """Changes in the same microsecond, which a transaction's are, and a clock that steps back."""
    task = user.create()
    tags = []

    def read() -> None:
        tags.append(user.request("GET", f"/{task['id']}").headers["ETag"])

    with database.transaction():
        for title in "abcde":
            database.execute("UPDATE tasks SET title = %s WHERE id = %s", [title, task["id"]])
            values = "SELECT updated_at::text FROM tasks WHERE id = %s"
            row = database.execute(values, [task["id"]]).fetchone()
            assert row is not None
            tags.append(str(row[0]))
    read()
    # As good as a clock an hour slow: the last change was an hour from now.
    with database.transaction():
        database.execute("SET LOCAL session_replication_role = replica")
        database.execute(
            "UPDATE tasks SET updated_at = now() + interval '1 hour' WHERE id = %s", [task["id"]]
        )
    read()
    for _ in range(3):
        user.request("PATCH", f"/{task['id']}/complete")
        read()
    assert len(set(tags)) == 10
    assert tags[5:] == sorted(tags[5:])


def test_a_reader_who_has_it_gets_no_body(user: Account) -> None:
    path = f"/{user.create()['id']}"
    for url in (path, "", "?limit=1&q=task"):
        full = user.request("GET", url)
        tag = full.headers["ETag"]
        for value in (tag, f"W/{tag}", f'"x", {tag}', f'W/"x",{tag} , "y"', "*"):
            for method in ("GET", "HEAD"):
                response = user.request(method, url, headers={"If-None-Match": value})
                assert response.status_code == 304
                assert response.content == b""
                assert response.headers["ETag"] == tag
                assert "Content-Type" not in response.headers
        for value in ('"x"', "", "x", tag[:-1], f'"{tag}"', '"*"', f'{tag[:-2]}0"'):
            response = user.request("GET", url, headers={"If-None-Match": value})
            assert response.status_code == 200
            assert response.json() == full.json()


def test_a_tag_of_another_task_or_page_is_another(user: Account) -> None:
    user.create("first")
    pages = ("", "?limit=1", "?sort=created_at", "?completed=true", "?q=first")
    user.create("second")
    assert len({user.request("GET", page).headers["ETag"] for page in pages}) == len(pages)


def test_every_change_of_a_list_changes_its_tag(user: Account) -> None:
    tags = []

    def read() -> str:
        tags.append(user.request("GET", "?limit=2").headers["ETag"])
        tag: str = tags[-1]
        unchanged = user.request("GET", "?limit=2", headers={"If-None-Match": tag})
        assert unchanged.status_code == 304
        return tag

    read()
    tasks = [user.create() for _ in range(2)]
    read()
    user.request("PATCH", f"/{tasks[0]['id']}/complete")
    read()
    user.request("DELETE", f"/{tasks[0]['id']}")
    read()
    user.create()
    read()
    # The page is the same, but there is another behind it now.
    oldest = "?limit=2&sort=created_at"
    before = user.request("GET", oldest)
    user.create()
    after = user.request("GET", oldest, headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert after.json() == before.json()
    assert "Link" in after.headers
    assert len(set(tags)) == 5


@pytest.mark.parametrize(("method", "below", "body"), WRITES)
def test_a_write_goes_by_if_match(user: Account, method: str, below: str, body: Any) -> None:
    def write(if_match: str) -> httpx.Response:
        headers = {"If-Match": if_match.encode("latin-1")}
        return user.request(method, path + below, json=body, headers=headers)

    created = user.request("POST", json={"title": "t"})
    path, old = f"/{created.json()['id']}", created.headers["ETag"]
    now = user.request("PATCH", path, json={"description": "changed"})
    tag = now.headers["ETag"]
    finer = tag.replace("Z", "0Z")
    for value in (
        old, f"W/{tag}", '"x"', "x", "", ",", '"*"', f'"x", W/{tag}, {old}', '""', tag[:-1], finer,
        '"9999-99-99T99:99:99.999999Z"', '"infinity"', '"\xe9"', f"{tag} {tag}",
    ):  # fmt: skip
        assert_error(write(value), 412, CHANGED)
    assert user.request("GET", path).json() == now.json()
    done = write(f'"x", {tag}, W/"y"')
    assert done.status_code == (204 if method == "DELETE" else 200)
    for value in (tag, "*", '"x"'):
        if method == "DELETE":
            assert_error(write(value), 404, "Task not found")
    if method != "DELETE":
        assert_error(write(tag), 412, CHANGED)
        again = write(done.headers["ETag"])
        assert again.status_code == 200
        assert write("*").status_code == 200
        assert_error(write(again.headers["ETag"]), 412, CHANGED)


def test_any_task_that_is_there_matches_the_star(user: Account) -> None:
    path = f"/{user.create()['id']}"
    assert user.request("DELETE", path, headers={"If-Match": "*"}).status_code == 204
    assert_error(user.request("DELETE", path, headers={"If-Match": "*"}), 404, "Task not found")


def test_the_condition_is_looked_at_last(user: Account, other_user: Account) -> None:
    """After the token, the path, the user and the body; and it tells nothing of others' tasks."""
    task = other_user.request("GET").json()[0]
    stale = {"If-Match": '"stale"'}
    client = user.client
    assert client.put("/api/1/tasks/2", headers=stale).status_code == 401
    assert user.request("PUT", "/2", headers=stale, json={}).status_code == 422
    url = f"{other_user.tasks}/{task['id']}"
    assert client.put(url, headers=user.headers | stale, json={}).status_code == 403
    mine = f"/{user.create()['id']}"
    assert user.request("PUT", mine, headers=stale, json={}).status_code == 422
    assert user.request("PUT", mine, headers=stale, json={"title": "t"}).status_code == 412
    for id in (task["id"], uuid.uuid4()):
        for method, below, body in WRITES:
            response = user.request(method, f"/{id}{below}", headers=stale, json=body)
            assert_error(response, 404, "Task not found")


@pytest.mark.parametrize(("method", "below", "body"), WRITES)
def test_of_twenty_at_once_with_the_same_tag_one_succeeds(
    service: Service, user: Account, method: str, below: str, body: Any
) -> None:
    created = user.request("POST", json={"title": "t"})
    url = f"{user.tasks}/{created.json()['id']}{below}"
    headers = user.headers | {"If-Match": created.headers["ETag"]}
    barrier = threading.Barrier(20)

    def write(_: int) -> int:
        with service.client() as client:
            client.get("/health")
            barrier.wait()
            return client.request(method, url, headers=headers, json=body).status_code

    with ThreadPoolExecutor(20) as threads:
        statuses = sorted(threads.map(write, range(20)))
    assert statuses == ([204] + [404] * 19 if method == "DELETE" else [200] + [412] * 19)


@pytest.mark.one_server
def test_a_write_that_waited_goes_by_what_it_then_finds(
    shared_service: MakeService, database_url: str, database: psycopg.Connection
) -> None:
    """412 if the task was changed meanwhile, 404 if it was deleted."""
    service = shared_service(**PATIENT)
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'taskapi'"
        " AND wait_event_type = 'Lock' AND datname = current_database()"
    )
    with service.client() as client, ThreadPoolExecutor(1) as thread:
        user = Account.insert(client, database)
        for method, below, body in WRITES:
            for statement, status in (
                ("UPDATE tasks SET completed = completed WHERE id = %s", 412),
                ("DELETE FROM tasks WHERE id = %s", 404),
            ):
                created = user.request("POST", json={"title": "t"})
                id, headers = created.json()["id"], {"If-Match": created.headers["ETag"]}
                with psycopg.connect(database_url) as blocker:
                    blocker.execute(statement, [id])
                    answer = thread.submit(
                        user.request, method, f"/{id}{below}", json=body, headers=headers
                    )
                    wait_until(
                        "the write to wait", lambda: bool(database.execute(waiting).fetchall())
                    )
                    blocker.commit()
                assert answer.result().status_code == status, (method, below, statement)


def test_if_match_takes_a_tasks_updated_at(user: Account) -> None:
    """Tasks of a list, of the change feed and of a batch's results have no tag."""
    user.create()
    [task] = user.request("GET").json()
    path = f"/{task['id']}"
    for method, body in (("PUT", {"title": "put"}), ("PATCH", {"title": "patched"})):
        version = {"If-Match": f'"{task["updated_at"]}"'}
        changed = user.request(method, path, json=body, headers=version)
        assert changed.status_code == 200, changed.text
        assert user.request(method, path, json=body, headers=version).status_code == 412
        task = changed.json()
    version = {"If-Match": f'"{task["updated_at"]}"'}
    assert user.request("GET", path, headers={"If-None-Match": version["If-Match"]}).is_success
    assert user.request("DELETE", path, headers=version).status_code == 204
