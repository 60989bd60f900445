"""The six task routes (T037 to T080)."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error, assert_faults, assert_task

LONGEST_TITLE = "€" * 500
LONGEST_DESCRIPTION = "𝄞" * 10_000


def test_it_creates_a_task(user: Account) -> None:
    response = user.request("POST", json={"title": "buy milk", "description": "two litres"})
    assert response.status_code == 201
    task = response.json()
    assert_task(task)
    assert task["user_id"] == user.id
    assert (task["title"], task["description"], task["completed"]) == (
        "buy milk",
        "two litres",
        False,
    )
    assert task["created_at"] == task["updated_at"]
    assert response.headers["Location"] == f"{user.tasks}/{task['id']}"
    assert user.client.get(response.headers["Location"], headers=user.headers).json() == task


def test_timestamps_are_the_servers_time(user: Account) -> None:
    """T103: within a second of it."""
    before = datetime.now(UTC)
    created = datetime.fromisoformat(user.create()["created_at"])
    after = datetime.now(UTC)
    assert before - timedelta(seconds=1) <= created <= after + timedelta(seconds=1)


def test_timestamps_have_microseconds_on_the_whole_second(
    user: Account, database: psycopg.Connection
) -> None:
    task = user.create()
    for stored, shown in [
        ("2026-01-31 10:00:00+02", "2026-01-31T08:00:00.000000Z"),
        ("2026-01-31 10:00:00.5+00", "2026-01-31T10:00:00.500000Z"),
        ("1999-12-31 23:59:59.000001+00", "1999-12-31T23:59:59.000001Z"),
    ]:
        database.execute("UPDATE tasks SET created_at = %s WHERE id = %s", [stored, task["id"]])
        assert user.request("GET", f"/{task['id']}").json()["created_at"] == shown


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"title": "t"}, ("t", None, False)),
        ({"title": "t", "description": None}, ("t", None, False)),
        ({"title": "t", "description": ""}, ("t", "", False)),
        ({"title": "t", "description": " \n "}, ("t", " \n ", False)),
        ({"title": "t", "completed": True}, ("t", None, True)),
        ({"title": "t", "completed": False}, ("t", None, False)),
        ({"title": " \t\r\n t  t\u3000\u00a0"}, ("t  t", None, False)),
        ({"title": LONGEST_TITLE}, (LONGEST_TITLE, None, False)),
        ({"title": f"  {LONGEST_TITLE}  "}, (LONGEST_TITLE, None, False)),
        ({"title": "t", "description": LONGEST_DESCRIPTION}, ("t", LONGEST_DESCRIPTION, False)),
        (
            {"title": "'; DROP TABLE tasks; -- %s %(x)s"},
            ("'; DROP TABLE tasks; -- %s %(x)s", None, False),
        ),
        ({"title": "اَلْعَرَبِيَّةُ 漢字 👩‍👩‍👧 \u200b|"}, ("اَلْعَرَبِيَّةُ 漢字 👩‍👩‍👧 \u200b|", None, False)),
    ],
)
def test_it_stores_what_it_was_given(
    user: Account, body: dict[str, object], expected: tuple[str, str | None, bool]
) -> None:
    task = user.create(**body)  # type: ignore[arg-type]
    assert (task["title"], task["description"], task["completed"]) == expected
    assert user.request("GET", f"/{task['id']}").json() == task


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"title": ""}, "title"),
        ({"title": " \t\n\u2003"}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"title": None}, "title"),
        ({"title": 5}, "title"),
        ({"title": True}, "title"),
        ({"title": ["x"]}, "title"),
        ({"title": {"x": "y"}}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"title": "t", "description": 5}, "description"),
        ({"title": "t", "description": False}, "description"),
        ({"title": "t", "description": []}, "description"),
        ({"title": "t", "description": "a\0"}, "description"),
        ({"title": "t", "description": "x" * 10_001}, "description"),
    ],
)
def test_it_rejects_bad_members(
    user: Account, method: str, body: dict[str, object], loc: str
) -> None:
    """T034, T035, T057, T104: the fault is named and nothing is lost or made."""
    task = user.create("before", description="kept")
    path = f"/{task['id']}" if method == "PUT" else ""
    assert_faults(user.request(method, path, json=body), ["body", loc])
    assert user.request("GET").json() == [task]


@pytest.mark.parametrize("value", ["true", "yes", 1, 0, None, [], {}])
def test_it_rejects_a_completed_that_is_no_boolean(user: Account, value: object) -> None:
    assert_faults(
        user.request("POST", json={"title": "t", "completed": value}), ["body", "completed"]
    )
    task = user.create()
    response = user.request("PATCH", f"/{task['id']}/complete", json={"completed": value})
    assert_faults(response, ["body", "completed"])
    assert user.request("GET").json() == [task]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"description": "d"}'])
def test_it_rejects_a_missing_title(user: Account, method: str, body: bytes) -> None:
    path = f"/{uuid.uuid4()}" if method == "PUT" else ""
    headers = {"Content-Type": "application/json"}
    response = user.request(method, path, content=body, headers=headers)
    assert_faults(response, ["body", "title"], missing=True)
    assert response.json()["detail"][0]["msg"] == "Field required"


def test_it_names_every_fault_at_once(user: Account) -> None:
    response = user.request("POST", json={"title": "", "description": 1, "completed": "x"})
    assert_faults(response, ["body", "title"], ["body", "description"], ["body", "completed"])


def test_it_ignores_members_that_a_client_cannot_set(user: Account) -> None:
    made = user.create(
        "t",
        id=str(uuid.uuid4()),
        user_id=str(uuid.uuid4()),
        created_at="2000-01-01T00:00:00Z",
        updated_at=5,
        completed_at="2000-01-01T00:00:00Z",
        reminder={"nested": ["from", "a", "newer", "client"]},
    )
    assert made["user_id"] == user.id
    assert made["created_at"] > "2026"
    returned = made | {"title": "changed", "completed": True, "created_at": None, "new": 1}
    returned |= {"priority": 9, "due_on": "2026-01-31", "labels": ["a"], "position": "a0"}
    response = user.request("PUT", f"/{made['id']}", json=returned)
    assert response.status_code == 200
    task = response.json()
    assert task | {"updated_at": ""} == made | {"title": "changed", "updated_at": ""}


def test_it_lists_the_newest_first(user: Account, database: psycopg.Connection) -> None:
    """T038, and by id where two were made in the same microsecond."""
    assert user.request("GET").json() == []
    made = [user.create(f"task {number}") for number in range(5)]
    response = user.request("GET")
    assert response.status_code == 200
    assert response.json() == made[::-1]
    database.execute("UPDATE tasks SET created_at = now() WHERE user_id = %s", [user.id])
    ids = [task["id"] for task in user.request("GET").json()]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 5


def test_it_reads_one_task(user: Account) -> None:
    """T045, T047."""
    task = user.create()
    response = user.request("GET", f"/{task['id']}")
    assert response.status_code == 200
    assert response.json() == task
    assert user.request("GET", f"/{task['id'].upper()}").json() == task
    assert_error(user.request("GET", f"/{uuid.uuid4()}"), 404, "Task not found")


def test_it_changes_title_and_description(user: Account) -> None:
    """T058: and updated_at moves on."""
    task = user.create("old", description="old")
    response = user.request("PUT", f"/{task['id']}", json={"title": "new", "description": "new"})
    assert response.status_code == 200
    changed = response.json()
    assert_task(changed)
    assert changed["updated_at"] > task["updated_at"]
    expected = {"title": "new", "description": "new", "updated_at": changed["updated_at"]}
    assert changed == task | expected
    assert user.request("GET", f"/{task['id']}").json() == changed


def test_absent_null_and_empty_descriptions_are_three_things(user: Account) -> None:
    """T060."""
    path = f"/{user.create('t', description='kept')['id']}"

    def put(**members: str | None) -> str | None:
        response = user.request("PUT", path, json={"title": "t", **members})
        assert response.status_code == 200
        description: str | None = response.json()["description"]
        return description

    assert put() == "kept"
    assert put(description="") == ""
    assert put() == ""
    assert put(description=None) is None
    assert put() is None


@pytest.mark.parametrize("completed", [True, False])
def test_changing_a_task_keeps_completed(user: Account, completed: bool) -> None:
    """T061."""
    task = user.create(completed=completed)
    response = user.request(
        "PUT", f"/{task['id']}", json={"title": "new", "completed": not completed}
    )
    assert response.json()["completed"] is completed


def test_it_toggles(user: Account) -> None:
    """T077, T078, T079."""
    task = user.create("t", description="d")
    path = f"/{task['id']}/complete"
    seen = [task]
    for _ in range(3):
        response = user.request("PATCH", path)
        assert response.status_code == 200
        seen.append(response.json())
    assert [task["completed"] for task in seen] == [False, True, False, True]
    assert [task["updated_at"] for task in seen] == sorted({task["updated_at"] for task in seen})
    for later in seen[1:]:
        assert later["completed_at"] == (later["updated_at"] if later["completed"] else None)
        same = {"completed": False, "completed_at": None, "updated_at": task["updated_at"]}
        assert later | same == task


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_an_empty_body_is_no_body(user: Account, content_type: str | None) -> None:
    """Common clients declare JSON on each request."""
    headers = {"Content-Type": content_type} if content_type else {}
    path = f"/{user.create()['id']}"
    assert user.request("GET", headers=headers, content=b"").status_code == 200
    assert user.request("GET", path, headers=headers, content=b"").status_code == 200
    toggled = user.request("PATCH", f"{path}/complete", headers=headers, content=b"")
    assert toggled.json()["completed"] is True
    assert user.request("DELETE", path, headers=headers, content=b"").status_code == 204


@pytest.mark.parametrize("completed", [True, False])
def test_it_sets_completed_so_that_a_retry_is_safe(user: Account, completed: bool) -> None:
    path = f"/{user.create()['id']}/complete"
    for _ in range(3):
        response = user.request("PATCH", path, json={"completed": completed, "title": "ignored"})
        assert response.status_code == 200
        assert response.json()["completed"] is completed
        assert response.json()["title"] == "a task"


def test_a_toggle_with_an_empty_object_lacks_completed(user: Account) -> None:
    path = f"/{user.create()['id']}/complete"
    assert_faults(user.request("PATCH", path, json={}), ["body", "completed"], missing=True)


@pytest.mark.parametrize("completed", [True, False])
def test_the_query_sets_completed_as_the_body_does(user: Account, completed: bool) -> None:
    """Some clients and gateways send no body with a PATCH."""
    path = f"/{user.create()['id']}/complete"
    query = {"completed": str(completed).lower(), "new": "ignored"}
    for body in (None, {}, {"completed": completed}):
        kwargs = {} if body is None else {"json": body}
        for _ in range(2):
            response = user.request("PATCH", path, params=query, **kwargs)
            assert response.status_code == 200
            assert response.json()["completed"] is completed


def test_a_query_that_contradicts_the_body_is_refused(user: Account) -> None:
    task = user.create()
    path = f"/{task['id']}/complete"
    for asked, body in (("true", False), ("false", True)):
        response = user.request("PATCH", f"{path}?completed={asked}", json={"completed": body})
        assert_faults(response, ["query", "completed"])
    assert user.request("GET", f"/{task['id']}").json() == task


@pytest.mark.parametrize(
    "query", ["completed=", "completed", "completed=1", "completed=True", "completed=%00"]
)
def test_it_rejects_a_query_that_is_no_boolean(user: Account, query: str) -> None:
    task = user.create()
    path = f"/{task['id']}/complete"
    for twice in (query, "completed=true&completed=true"):
        assert_faults(user.request("PATCH", f"{path}?{twice}"), ["query", "completed"])
    response = user.request("PATCH", f"{path}?{query}", json={"completed": True})
    assert_faults(response, ["query", "completed"])
    response = user.request("PATCH", f"{path}?completed=true", json={"completed": 1})
    assert_faults(response, ["body", "completed"])
    assert user.request("GET", f"/{task['id']}").json() == task


def test_it_deletes_for_good(user: Account) -> None:
    """T067, T068, T070."""
    kept = user.create("kept")
    path = f"/{user.create('gone')['id']}"
    response = user.request("DELETE", path)
    assert response.status_code == 204
    assert response.content == b""
    assert "Content-Type" not in response.headers
    assert_error(user.request("DELETE", path), 404, "Task not found")
    assert_error(user.request("GET", path), 404, "Task not found")
    assert_error(user.request("PUT", path, json={"title": "t"}), 404, "Task not found")
    assert_error(user.request("PATCH", f"{path}/complete"), 404, "Task not found")
    assert user.request("GET").json() == [kept]


@pytest.mark.parametrize(
    "id",
    [
        "5",
        "not-a-uuid",
        "%00",
        "{00000000-0000-4000-8000-000000000000}",
        "urn:uuid:00000000-0000-4000-8000-000000000000",
        "00000000000040008000000000000000",
        "00000000-0000-4000-8000-00000000000",
        "0000000-00000-4000-8000-000000000000",
        "00000000-0000-4000-8000-00000000000g",
        " 00000000-0000-4000-8000-000000000000",
        "%EF%BC%90" * 8 + "-0000-4000-8000-000000000000",
    ],
)
def test_it_rejects_what_is_no_uuid(user: Account, id: str) -> None:
    """T044, T048."""
    for method, path in [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete")]:
        # Not through the client's own URL parser, which would tidy the path.
        url = user.client.base_url.copy_with(raw_path=f"{user.tasks}/{id}{path}".encode())
        response = user.client.request(method, url, headers=user.headers, content=b"not JSON")
        assert_faults(response, ["path", "id"])


def test_every_malformed_uuid_of_a_path_is_named(user: Account) -> None:
    response = user.client.get("/api/1/tasks/2", headers=user.headers)
    assert_faults(response, ["path", "user_id"], ["path", "id"])


def test_a_slash_at_the_end_changes_nothing(user: Account) -> None:
    task = user.create()
    assert user.request("GET", "/").json() == [task]
    assert user.request("GET", f"/{task['id']}/").json() == task


def test_two_who_toggle_at_once_both_succeed(user: Account) -> None:
    """The toggle is one statement: no read that another's write could come after."""
    path = f"/{user.create()['id']}/complete"
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: user.request("PATCH", path), range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert sorted(answer.json()["completed"] for answer in answers) == [False] * 10 + [True] * 10
