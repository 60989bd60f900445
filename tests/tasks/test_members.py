"""A task's due date, priority, labels and position, and when it was completed."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from fractional_indexing import generate_key_between
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support.accounts import Account
from tests.support.checks import assert_faults, assert_task
from tests.tasks.test_pages import read_pages

MEMBERS: dict[str, Any] = {
    "due_on": "2026-02-28",
    "priority": 3,
    "labels": ["home", "Ärger, 50 %", "a b"],
    "position": "a0V",
}
DEFAULTS: dict[str, Any] = {"due_on": None, "priority": 0, "labels": [], "position": None}

GOOD: list[tuple[str, Any]] = [
    *(("due_on", value) for value in ("0001-01-01", "9999-12-31", "2028-02-29", None)),
    *(("priority", value) for value in (*range(10), 1.0)),
    *(
        ("labels", value)
        for value in ([], ["x"], ["x" * 50, "𝄞" * 50], [str(n) for n in range(20)])
    ),
    ("labels", ["a", "A", "a\u200b", "b c"]),
    *(("position", value) for value in ("0", "z", "Zz9", "a" * 64, None)),
]
BAD: list[tuple[str, Any]] = [
    *(("due_on", value) for value in ("2026-02-29", "2026-2-1", "20260201", "0000-01-01", "today")),
    *(
        ("due_on", value)
        for value in (
            "2026-01-01T00:00:00Z",
            "infinity",
            "",
            20260201,
            "2026-01-1\u2164",
        )
    ),
    *(("priority", value) for value in (-1, 10, "1", 1.5, True, None, [1])),
    *(("labels", value) for value in (None, "a", {"a": 1}, ["a", "a"], [""], ["x" * 51], [None])),
    *(
        ("labels", value)
        for value in ([" a"], ["a "], ["\u3000a"], ["a\x1f"], [1], [["a"]], ["\0"])
    ),
    ("labels", [str(n) for n in range(21)]),
    *(("position", value) for value in ("", "a" * 65, "a-b", "ä", "a b", "a\n", 1, "~")),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "create", "update"])
def test_each_way_to_write_takes_them(user: Account, method: str) -> None:
    """POST, PUT of a new task, PATCH, and the operations of a batch."""
    id = user.create("before")["id"]
    body = {"title": "t", **MEMBERS}
    if method == "POST":
        task = user.request("POST", json=body).json()
    elif method == "PUT":
        user.request("DELETE", f"/{id}")
        headers = {"If-None-Match": "*"}
        task = user.request("PUT", f"/{id}", json=body, headers=headers).json()
    elif method == "PATCH":
        task = user.request("PATCH", f"/{id}", json=body).json()
    else:
        operation = {"op": method, **body} | ({"id": id} if method == "update" else {})
        [result] = user.request("POST", "/batch", json={"operations": [operation]}).json()[
            "results"
        ]
        task = result["task"]
    assert_task(task)
    assert task | MEMBERS == task
    assert user.request("GET", f"/{task['id']}").json() == task
    assert task in user.request("GET").json()


def test_a_new_task_has_the_defaults(user: Account) -> None:
    task = user.create()
    assert task | DEFAULTS == task


def test_put_of_a_task_that_exists_keeps_them(user: Account) -> None:
    task = user.create("t", **MEMBERS)
    body = {"title": "renamed", **DEFAULTS, "priority": 7}
    assert (
        user.request("PUT", f"/{task['id']}", json=body).json()
        | MEMBERS
        | {
            "title": "t",
            "updated_at": task["updated_at"],
        }
        == task
    )


def test_the_feed_has_them(user: Account) -> None:
    since = user.request("GET", "/changes").json()["next"]
    task = user.create("t", **MEMBERS)
    assert user.request("GET", f"/changes?since={since}").json()["changes"] == [task]


def test_a_repeated_post_shows_them_again(user: Account) -> None:
    body = {"title": "t", "completed": True, **MEMBERS}
    first, second = (
        user.request("POST", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.content == first.content
    assert second.headers["ETag"] == first.headers["ETag"]
    assert user.request("GET", f"/{first.json()['id']}").json() == first.json()


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_it_takes_and_keeps(user: Account, name: str, value: Any) -> None:
    task = user.create("t", **{name: value})
    assert task[name] == value
    other = user.create("t", **MEMBERS)
    assert user.request("PATCH", f"/{other['id']}", json={name: value}).json()[name] == value


@pytest.mark.parametrize(("name", "value"), BAD)
def test_it_refuses(user: Account, name: str, value: Any) -> None:
    task = user.create("t", **MEMBERS)
    for method, path in (("POST", ""), ("PATCH", f"/{task['id']}")):
        response = user.request(method, path, json={"title": "t", name: value})
        assert_faults(response, ["body", name])
    operations = [{"op": "create", "title": "t", name: value}]
    response = user.request("POST", "/batch", json={"operations": operations})
    assert_faults(response, ["body", "operations", 0, name])
    assert user.request("GET").json() == [task]


def column_of(value: Any) -> Any:
    return Jsonb(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, value in (*GOOD, *BAD)
        # What is of another type never reaches the column, nor does U+0000.
        if isinstance(
            value, dict[str, type](due_on=str, priority=int, labels=list, position=str)[name]
        )
        and not isinstance(value, bool)
        and not (
            isinstance(value, list) and any(not isinstance(x, str) or "\0" in x for x in value)
        )
        and value not in ("today", "2026-2-1", "20260201", "2026-01-01T00:00:00Z")
    ],
)
def test_the_database_accepts_what_the_service_does(
    user: Account, database: psycopg.Connection, name: str, value: Any
) -> None:
    """Its constraints say the same, for what a DBA types."""
    query = (
        "INSERT INTO tasks (user_id, title, due_on, priority, labels, position)"
        " SELECT %s, 't', due_on, coalesce(priority, 0), coalesce(labels, '{}'), position"
        " FROM jsonb_populate_record(NULL::tasks, %s)"
    )
    is_good = any(value is good for _, good in GOOD) or (name, value) in GOOD
    try:
        database.execute(query, [user.id, Jsonb({name: value})])
    except (psycopg.errors.CheckViolation, psycopg.DataError):
        assert not is_good
    else:
        assert is_good


def test_completed_at_is_kept_by_the_database(user: Account, database: psycopg.Connection) -> None:
    task = user.create("t", completed=True)
    path = f"/{task['id']}"
    assert task["completed_at"] == task["updated_at"]
    renamed = user.request("PATCH", path, json={"title": "u", "completed": True}).json()
    assert renamed["completed_at"] == task["completed_at"] < renamed["updated_at"]
    reopened = user.request("PATCH", path, json={"completed": False, "completed_at": "x"}).json()
    assert reopened["completed_at"] is None
    done = user.request("PATCH", f"{path}/complete", json={"completed": True}).json()
    assert done["completed_at"] == done["updated_at"] > renamed["updated_at"]
    # Typed by a DBA
    database.execute("UPDATE tasks SET completed = false WHERE id = %s", [task["id"]])
    assert user.request("GET", path).json()["completed_at"] is None
    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute("UPDATE tasks SET completed_at = now() WHERE id = %s", [task["id"]])


def test_a_list_by_position_is_in_the_order_of_bytes(user: Account) -> None:
    """Not in a locale's, where a is before B. Those without one come last, by id."""
    rng = random.Random(1)
    alphabet = "0Aa1Bb9Zz"
    positions: list[str | None] = [
        "".join(rng.choices(alphabet, k=rng.randint(1, 4))) for _ in range(60)
    ]
    operations = [{"op": "create", "title": "t", "position": p} for p in [*positions, None, None]]
    user.request("POST", "/batch", json={"operations": operations})
    tasks = [task for page in read_pages(user, "sort=position&limit=7") for task in page]
    expected = sorted(tasks, key=lambda task: ((task["position"] or "~").encode(), task["id"]))
    assert tasks == expected
    assert len(tasks) == 62


def test_pages_by_due_date_go_through_those_without_one(
    user: Account, database: psycopg.Connection
) -> None:
    """While others are created, moved and deleted: what stays is shown once."""
    for number in range(40):
        user.create(str(number), due_on=f"2026-01-{1 + number % 9:02}" if number % 2 else None)
    kept = {task["id"] for task in user.request("GET").json()}
    seen: list[str] = []
    url: str | None = f"{user.tasks}?sort=due_on&limit=3"
    turn = 0
    while url:
        response = user.client.get(url, headers=user.headers)
        seen += [task["id"] for task in response.json()]
        url = response.links["next"]["url"] if "next" in response.links else None
        turn += 1
        extra = user.create("extra", due_on="2026-01-05" if turn % 2 else None)
        if turn % 3 == 0:
            user.request("DELETE", f"/{extra['id']}")
    assert [id for id in seen if id in kept] == list(dict.fromkeys(id for id in seen if id in kept))
    assert kept <= set(seen)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    "query", ["due_from=1", "due_to=2026-02-30", "priority_from=10", "priority_to=x"]
)
def test_a_bad_filter_is_named(user: Account, query: str) -> None:
    assert_faults(user.request("GET", f"?{query}"), ["query", query.partition("=")[0]])
    assert_faults(user.request("GET", "?label="), ["query", "label"])
    assert_faults(user.request("GET", "?sort=priority"), ["query", "sort"])


def test_a_cursor_of_another_filter_or_order_is_refused(user: Account) -> None:
    for number in range(3):
        user.create(str(number), priority=number, due_on="2026-01-01")
    url = user.request("GET", "?sort=due_on&priority_to=5&limit=1").links["next"]["url"]
    for other in (
        url.replace("sort=due_on", "sort=position"),
        url.replace("priority_to=5", "priority_to=6"),
        url.replace("priority_to=5", "priority_from=5"),
        url.replace("&priority_to=5", ""),
    ):
        assert other != url
        response = user.client.get(other, headers=user.headers)
        assert_faults(response, ["query", "cursor"])


DAYS = ["2026-01-01", "2026-01-02", "2026-01-03", None]
TASK = st.fixed_dictionaries(
    {
        "due_on": st.sampled_from(DAYS),
        "priority": st.integers(0, 9),
        "labels": st.lists(st.sampled_from(["a", "b", "c"]), unique=True),
        "position": st.none() | st.text("0Zz", min_size=1, max_size=3),
        "completed": st.booleans(),
    }
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "due_from": st.sampled_from(DAYS[:3]),
        "due_to": st.sampled_from(DAYS[:3]),
        "label": st.sampled_from(["a", "b", "none"]),
        "priority_from": st.integers(0, 9),
        "priority_to": st.integers(0, 9),
        "completed": st.booleans(),
        "q": st.sampled_from(["T", "1", "none"]),
        "sort": st.sampled_from(["-created_at", "created_at", "due_on", "position"]),
        "limit": st.integers(1, 5),
    },
)


def is_shown(task: dict[str, Any], query: dict[str, Any]) -> bool:
    """Tell whether a list with these filters has the task."""
    due = task["due_on"]
    return (
        ("due_from" not in query or (due is not None and due >= query["due_from"]))
        and ("due_to" not in query or (due is not None and due <= query["due_to"]))
        and ("label" not in query or query["label"] in task["labels"])
        and task["priority"] >= query.get("priority_from", 0)
        and task["priority"] <= query.get("priority_to", 9)
        and task["completed"] == query.get("completed", task["completed"])
        and query.get("q", "t").lower() in task["title"].lower()
    )


def in_order(tasks: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Return the tasks in an order of the lists."""
    column, last = {"due_on": ("due_on", "~"), "position": ("position", "~")}.get(
        sort, ("created_at", "")
    )
    ordered = sorted(tasks, key=lambda task: (task[column] or last, task["id"]))
    return ordered[::-1] if sort == "-created_at" else ordered


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tasks=st.lists(TASK, max_size=12), queries=st.lists(FILTERS, min_size=5, max_size=5))
def test_filters_and_orders_combine(
    user: Account, tasks: list[dict[str, Any]], queries: list[dict[str, Any]]
) -> None:
    old = [{"op": "delete", "id": task["id"]} for task in user.request("GET").json()]
    new = [{"op": "create", "title": f"t{n}", **task} for n, task in enumerate(tasks)]
    user.request("POST", "/batch", json={"operations": [*old, *new]})
    everything = user.request("GET").json()
    assert len(everything) == len(tasks)
    for query in queries:
        text = "&".join(f"{name}={str(value).lower()}" for name, value in query.items())
        text = text.replace("q=t", "q=T")
        shown = [task for page in read_pages(user, text) for task in page]
        expected = [task for task in everything if is_shown(task, query)]
        assert shown == in_order(expected, query.get("sort", "-created_at")), query


def test_labels_count_for_the_length_of_a_page(user: Account, database: psycopg.Connection) -> None:
    """20 labels of control characters have six times as many bytes in JSON."""
    database.execute(
        "INSERT INTO tasks (user_id, title, labels) SELECT %s, 't', ("
        " SELECT array_agg(repeat(E'\\x01', 48) || n) FROM generate_series(10, 29) AS n)"
        " FROM generate_series(1, 1000)",
        [user.id],
    )
    sizes, count = [], 0
    for query in ("", "?sort=due_on", "?sort=position&priority_to=0"):
        url: str | None = f"{user.tasks}{query}"
        while url:
            response = user.client.get(url, headers=user.headers)
            sizes.append(len(response.content))
            count += len(response.json())
            url = response.links["next"]["url"] if "next" in response.links else None
    assert count == 3000
    assert max(sizes) < 2 * 2**20 + 70_000
    assert len(sizes) < 20


def test_moves_at_once_are_all_kept(user: Account) -> None:
    """Moving a task changes one row: eight clients who move different tasks all succeed."""
    ids = [user.create(str(number), position=f"a{number}")["id"] for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        moves = [
            threads.submit(user.request, "PATCH", f"/{id}", json={"position": f"b{7 - number}"})
            for number, id in enumerate(ids)
        ]
        assert {move.result().status_code for move in moves} == {200}
    listed = [task["id"] for task in user.request("GET", "?sort=position").json()]
    assert listed == ids[::-1]


def test_ten_thousand_moves_need_no_new_positions(user: Account) -> None:
    """A hundred tasks, with positions from the package that docs/api.md names."""
    rng = random.Random(2)
    order = [str(uuid.uuid4()) for _ in range(100)]
    positions: dict[str, str] = {}
    for id in order:
        positions[id] = generate_key_between(max(positions.values(), default=None), None)
    create = [{"op": "create", "id": id, "title": "t", "position": positions[id]} for id in order]
    assert user.request("POST", "/batch", json={"operations": create}).status_code == 200
    assert [task["id"] for task in user.request("GET", "?sort=position").json()] == order
    for _ in range(100):
        moves: dict[str, str] = {}
        for _ in range(100):
            id = order.pop(rng.randrange(len(order)))
            # Some moves by hand go to the top or the end, most to any place.
            place = rng.choice([0, len(order), *[rng.randrange(len(order) + 1)] * 4])
            before = positions[order[place - 1]] if place > 0 else None
            after = positions[order[place]] if place < len(order) else None
            order.insert(place, id)
            positions[id] = moves[id] = generate_key_between(before, after)
        update = [{"op": "update", "id": id, "position": at} for id, at in moves.items()]
        results = user.request("POST", "/batch", json={"operations": update}).json()["results"]
        assert {result["status"] for result in results} == {200}
        assert [task["id"] for task in user.request("GET", "?sort=position").json()] == order
    assert max(map(len, positions.values())) < 64
