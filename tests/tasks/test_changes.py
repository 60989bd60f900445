"""The change feed: what a client that follows it is told."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_faults
from tests.support.feeds import Follower, read_changes
from tests.support.service import SECRET, run_command

Connection = psycopg.Connection[Any]


def test_a_first_request_gets_a_token_for_now(user: Account) -> None:
    user.create("before")
    page = read_changes(user)
    assert page["changes"] == []
    assert page["more"] is False
    assert read_changes(user, page["next"]) == page


def test_each_kind_of_change_appears(user: Account) -> None:
    kept, gone = user.create("kept"), user.create("gone")
    token = read_changes(user)["next"]
    user.request("PUT", f"/{kept['id']}", json={"title": "renamed"})
    user.request("PATCH", f"/{kept['id']}", json={"description": "described"})
    completed = user.request("PATCH", f"/{kept['id']}/complete").json()
    user.request("DELETE", f"/{gone['id']}")
    new = user.create("new")
    page = read_changes(user, token)
    assert page["changes"] == [completed, {"id": gone["id"], "deleted": True}, new]
    assert read_changes(user, page["next"])["changes"] == []


def test_a_task_that_is_put_back_is_not_deleted(user: Account) -> None:
    task = user.create("there")
    token = read_changes(user)["next"]
    user.request("DELETE", f"/{task['id']}")
    assert read_changes(user, token)["changes"] == [{"id": task["id"], "deleted": True}]
    back = user.request(
        "PUT", f"/{task['id']}", json={"title": "back"}, headers={"If-None-Match": "*"}
    )
    assert back.status_code == 201
    assert read_changes(user, token)["changes"] == [back.json()]
    user.request("DELETE", f"/{task['id']}")
    assert read_changes(user, token)["changes"] == [{"id": task["id"], "deleted": True}]


def test_pages_have_every_change_once(user: Account) -> None:
    token = read_changes(user)["next"]
    tasks = [user.create(f"task {number}") for number in range(7)]
    for task in tasks[::2]:
        user.request("DELETE", f"/{task['id']}")
    seen, more = [], True
    while more:
        page = read_changes(user, token, limit=2)
        seen += page["changes"]
        token, more = page["next"], page["more"]
        assert len(page["changes"]) <= 2
    assert [change["id"] for change in seen if "deleted" not in change] == [
        task["id"] for task in tasks[1::2]
    ]
    assert [change["id"] for change in seen if "deleted" in change] == [
        task["id"] for task in tasks[::2]
    ]


def test_a_page_ends_at_two_mebibytes(user: Account) -> None:
    token = read_changes(user)["next"]
    for number in range(40):
        user.create(f"task {number}", description="\u0001" * 10_000)
    response = user.request("GET", "/changes", params={"since": token})
    assert len(response.content) < 2.2 * 2**20
    assert response.json()["more"] is True
    follower = Follower(user, token)
    follower.catch_up()
    assert len(follower.tasks) == 40


def test_an_unchanged_feed_is_not_sent_again(user: Account) -> None:
    token = read_changes(user)["next"]
    params = {"since": token}
    tag = user.request("GET", "/changes", params=params).headers["ETag"]
    again = user.request("GET", "/changes", params=params, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    user.create()
    changed = user.request("GET", "/changes", params=params, headers={"If-None-Match": tag})
    assert changed.status_code == 200


def test_a_write_that_changes_nothing_leaves_the_feed_as_it_is(user: Account) -> None:
    task = user.create()
    token = read_changes(user)["next"]
    stale = {"If-Match": '"2020-01-01T00:00:00.000000Z"'}
    assert user.request("DELETE", f"/{task['id']}", headers=stale).status_code == 412
    assert user.request("DELETE", f"/{uuid.uuid4()}").status_code == 404
    assert read_changes(user, token)["changes"] == []


@pytest.mark.parametrize("since", ["", "x", "WyJhIl0.e30", "\u00fc"])
def test_a_token_that_is_not_ours_is_refused(user: Account, since: str) -> None:
    assert_faults(user.request("GET", "/changes", params={"since": since}), ["query", "since"])


def test_another_users_token_is_refused(user: Account, other_user: Account) -> None:
    token = read_changes(other_user)["next"]
    response = user.request("GET", "/changes", params={"since": token})
    assert response.status_code == 422


@pytest.mark.one_server
def test_what_a_dba_types_appears(user: Account, database: Connection) -> None:
    renamed, moved, gone = (user.create(title) for title in ("renamed", "moved", "gone"))
    token = read_changes(user)["next"]
    database.execute("UPDATE tasks SET title = 'typed' WHERE id = %s", [renamed["id"]])
    database.execute(
        "UPDATE tasks SET id = gen_random_uuid(), updated_at = '2020-01-01' WHERE id = %s",
        [moved["id"]],
    )
    database.execute("DELETE FROM tasks WHERE id = %s", [gone["id"]])
    database.execute(
        "INSERT INTO tasks (user_id, title, created_at, updated_at)"
        " VALUES (%s, 'imported', '2020-01-01', '2020-01-01')",
        [user.id],
    )
    changes = read_changes(user, token)["changes"]
    assert [change.get("title") for change in changes] == [
        "typed",
        *([None, "moved"] if "deleted" in changes[1] else ["moved", None]),
        None,
        "imported",
    ]
    assert {change["id"] for change in changes if "deleted" in change} == {moved["id"], gone["id"]}
    assert changes[-1]["created_at"] == "2020-01-01T00:00:00.000000Z"


def test_what_one_transaction_changes_is_paged_through(user: Account, database: Connection) -> None:
    """All of it has one time on the clock, and the pages end in its middle."""
    tasks = [user.create(f"task {number}") for number in range(10)]
    token = read_changes(user)["next"]
    database.execute("UPDATE tasks SET completed = true WHERE user_id = %s", [user.id])
    follower = Follower(user, token, limit=3)
    follower.catch_up()
    assert set(follower.tasks) == {task["id"] for task in tasks}


def test_two_changes_in_one_transaction_are_two_versions(
    user: Account, database: Connection
) -> None:
    task = user.create()
    with database.transaction():
        database.execute("UPDATE tasks SET title = 'first' WHERE id = %s", [task["id"]])
        first = database.execute(
            "SELECT updated_at FROM tasks WHERE id = %s", [task["id"]]
        ).fetchone()
        database.execute("UPDATE tasks SET title = 'second' WHERE id = %s", [task["id"]])
        second = database.execute(
            "SELECT updated_at FROM tasks WHERE id = %s", [task["id"]]
        ).fetchone()
    assert first is not None
    assert second is not None
    assert first[0] < second[0]


@pytest.mark.one_server
def test_a_token_older_than_what_is_kept_starts_over(
    user: Account, other_user: Account, database: Connection, database_url: str
) -> None:
    gone = user.create("gone")
    idle = read_changes(other_user)["next"]
    user.request("DELETE", f"/{gone['id']}")
    new = read_changes(user)["next"]
    database.execute(
        "UPDATE deleted_tasks SET deleted_at = deleted_at - interval '31 days' WHERE user_id = %s",
        [user.id],
    )
    database.execute(
        "UPDATE clocks SET at = at - interval '31 days' WHERE user_id = %s",
        [user.id],
    )
    # The token is 31 days old, too
    old = read_changes(user)["next"]
    database.execute(
        "UPDATE deleted_tasks SET deleted_at = deleted_at + interval '1 second' WHERE user_id = %s",
        [user.id],
    )
    database.execute("UPDATE clocks SET at = now() WHERE user_id = %s", [user.id])
    done = run_command("-m", "taskapi", "purge", DATABASE_URL=database_url, JWT_SECRET=SECRET)
    assert done.returncode == 0, done.stderr
    assert "deleted 1 traces of deleted tasks" in done.stdout
    response = user.request("GET", "/changes", params={"since": old})
    assert_error(
        response, 410, "The changes since this token are not known any more: list all tasks"
    )
    assert response.links["collection"]["url"] == f"{user.client.base_url}".rstrip("/") + user.tasks
    assert read_changes(user, new)["changes"] == []
    assert read_changes(other_user, idle)["changes"] == []


def test_a_page_that_ended_among_deletions_which_are_purged(
    user: Account, database: Connection, database_url: str
) -> None:
    """All have one time. Who has seen some of them misses the others, who has seen all doesn't."""
    for title in "abc":
        user.create(title)
    database.execute("DELETE FROM tasks WHERE user_id = %s", [user.id])
    database.execute(
        "UPDATE deleted_tasks SET deleted_at = now() - interval '31 days' WHERE user_id = %s",
        [user.id],
    )
    set_clock = "UPDATE clocks SET at = now() - %s::interval WHERE user_id = %s"
    database.execute(set_clock, ["32 days", user.id])
    token = read_changes(user)["next"]
    database.execute(set_clock, ["0 days", user.id])
    some = read_changes(user, token, limit=2)
    assert (len(some["changes"]), some["more"]) == (2, True)
    rest = read_changes(user, some["next"])
    assert (len(rest["changes"]), rest["more"]) == (1, False)
    done = run_command("-m", "taskapi", "purge", DATABASE_URL=database_url, JWT_SECRET=SECRET)
    assert done.returncode == 0, done.stderr
    assert user.request("GET", "/changes", params={"since": some["next"]}).status_code == 410
    assert read_changes(user, rest["next"])["changes"] == []


def test_a_deletion_of_a_user_whose_clock_is_gone_is_purged(
    user: Account, database: Connection, database_url: str
) -> None:
    user.request("DELETE", f"/{user.create()['id']}")
    database.execute(
        "UPDATE deleted_tasks SET deleted_at = now() - interval '31 days' WHERE user_id = %s",
        [user.id],
    )
    database.execute("DELETE FROM clocks WHERE user_id = %s", [user.id])
    done = run_command("-m", "taskapi", "purge", DATABASE_URL=database_url, JWT_SECRET=SECRET)
    assert done.returncode == 0, done.stderr
    assert "deleted 1 traces of deleted tasks" in done.stdout


def test_a_reset_makes_every_older_token_invalid(make_service: Any, own_url: str) -> None:
    service = make_service(DATABASE_URL=own_url)
    service.start()
    with service.client() as client:
        user = Account.insert(client, own_url)
        old = read_changes(user)["next"]
        done = run_command("-m", "taskapi", "reset-feeds", DATABASE_URL=own_url, JWT_SECRET=SECRET)
        assert done.returncode == 0, done.stderr
        assert user.request("GET", "/changes", params={"since": old}).status_code == 410
        assert read_changes(user, read_changes(user)["next"])["changes"] == []


def test_a_deleted_user_leaves_no_clock(client: httpx.Client, database: Connection) -> None:
    user = Account.insert(client, database)
    user.request("DELETE", f"/{user.create()['id']}")
    user.create()
    database.execute("DELETE FROM users WHERE id = %s", [user.id])
    for table in ("clocks", "deleted_tasks", "tasks"):
        row = database.execute(
            f"SELECT count(*) FROM {table} WHERE user_id = %s".encode(), [user.id]
        ).fetchone()
        assert row == (0,), table
