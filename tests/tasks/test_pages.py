"""Pages of a list: limit, cursor and Link; and the order that they are in."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskapi.database.statements import STATEMENTS
from taskapi.tasks.queries import FIRST_DUE, NEWEST, OLDEST, TOP
from tests.support.accounts import Account
from tests.support.checks import assert_faults, assert_task
from tests.support.plans import nodes

# The index of each list, and where its first page starts.
LIST_STATEMENTS = {
    "list_tasks": ("created_at", NEWEST),
    "list_tasks_oldest_first": ("created_at", OLDEST),
    "list_tasks_by_due_on": ("due_on", FIRST_DUE),
    "list_tasks_by_position": ("position", TOP),
}


def next_url(response: httpx.Response) -> str | None:
    """Return where the Link to the next page leads; there is no other Link."""
    if "Link" not in response.headers:
        return None
    link = re.fullmatch(r'<([!-;=?-~]+)>; rel="next"', response.headers["Link"])
    assert link is not None
    return link[1]


def follow(user: Account, url: str) -> httpx.Response:
    """GET a page as a Link names it."""
    response = user.client.get(url, headers=user.headers)
    assert response.status_code == 200, response.text
    return response


def read_pages(user: Account, query: str) -> list[list[dict[str, Any]]]:
    """Return the tasks of each page from the first on."""
    pages = []
    url: str | None = f"{user.tasks}?{query}"
    while url:
        response = follow(user, url)
        pages.append(response.json())
        url = next_url(response)
    return pages


def insert_tasks(database: psycopg.Connection, user: Account, count: int) -> None:
    """Create tasks as a DBA would, all in the same microsecond."""
    database.execute(
        "INSERT INTO tasks (user_id, title) SELECT %s, number::text"
        " FROM generate_series(1, %s) AS number",
        [user.id, count],
    )


@pytest.mark.parametrize("count", [0, 1, 999, 1000])
def test_a_usual_list_comes_whole(user: Account, database: psycopg.Connection, count: int) -> None:
    insert_tasks(database, user, count)
    response = user.request("GET")
    assert len(response.json()) == count
    assert "Link" not in response.headers


def test_a_longer_list_comes_in_pages_of_a_thousand(
    user: Account, database: psycopg.Connection
) -> None:
    insert_tasks(database, user, 2001)
    pages = read_pages(user, "")
    assert [len(page) for page in pages] == [1000, 1000, 1]
    assert_task(pages[0][0])
    ids = [task["id"] for page in pages for task in page]
    assert ids == sorted(set(ids), reverse=True)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7, 1000])
@pytest.mark.parametrize("sort", ["-created_at", "created_at"])
def test_pages_put_together_are_the_list(user: Account, limit: int, sort: str) -> None:
    made = [user.create(f"task {number}") for number in range(6)]
    pages = read_pages(user, f"sort={sort}&limit={limit}")
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1]
    in_order = made if sort == "created_at" else made[::-1]
    assert [task for page in pages for task in page] == in_order


def test_the_link_keeps_the_other_parameters(user: Account) -> None:
    for _ in range(3):
        user.create("a&b=c #1 é<>")
    query = {"q": "A&B=C #1 É<>", "limit": "1", "new": "from a newer client", "empty": ""}
    response = user.request("GET", params=query | {"sort": "created_at", "completed": "false"})
    for _ in range(2):
        url = next_url(response)
        assert url is not None
        assert urlsplit(url).path == user.tasks
        given = parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
        kept = [*query.items(), ("sort", "created_at"), ("completed", "false")]
        assert given[:-1] == kept
        assert given[-1][0] == "cursor"
        response = follow(user, url)
    assert next_url(response) is None


def test_a_cursor_says_nothing_to_a_client(user: Account) -> None:
    """And a limit of another size may be asked for with it."""
    made = [user.create() for _ in range(4)]
    url = next_url(user.request("GET", "?limit=1"))
    assert url is not None
    assert re.fullmatch(r"[\w.-]+", dict(parse_qsl(urlsplit(url).query))["cursor"])
    response = follow(user, url.replace("limit=1", "limit=2"))
    assert response.json() == made[::-1][1:3]


def cursor_of(user: Account, query: str = "limit=1") -> str:
    url = next_url(user.request("GET", f"?{query}"))
    assert url is not None
    return dict(parse_qsl(urlsplit(url).query))["cursor"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "%00", "%ff", "%ed%a0%80", "x.y", ".x", "0" * 2000]
)
def test_it_rejects_a_cursor_that_is_not_ours(user: Account, cursor: str) -> None:
    assert_faults(user.request("GET", f"?cursor={cursor}"), ["query", "cursor"])


def test_it_rejects_a_cursor_that_was_tampered_with(user: Account) -> None:
    for _ in range(2):
        user.create()
    cursor = cursor_of(user)
    for place, character in enumerate(cursor):
        for other in "AB-":
            changed = cursor[:place] + other + cursor[place + 1 :]
            if other != character:
                response = user.request("GET", "", params={"cursor": changed})
                assert_faults(response, ["query", "cursor"])
    for changed in (cursor + "A", cursor + "=", cursor + "!", cursor[:-1], f" {cursor}"):
        assert_faults(user.request("GET", params={"cursor": changed}), ["query", "cursor"])
    assert user.request("GET", params={"cursor": cursor}).status_code == 200


def test_it_rejects_a_cursor_from_another_list(user: Account, other_user: Account) -> None:
    for account in (user, other_user):
        account.create("a task")
        account.create("a task")
    lists = ["", "&sort=created_at", "&completed=false", "&q=task", "&q=TASK", "&q=null"]
    for one in lists[:-1]:
        cursor = cursor_of(user, f"limit=1{one}")
        for other in lists:
            response = user.request("GET", f"?cursor={cursor}{other}")
            if other == one:
                assert response.status_code == 200
            else:
                assert_faults(response, ["query", "cursor"])
    assert user.request("GET", f"?cursor={cursor_of(user)}&sort=-created_at").status_code == 200
    stolen = other_user.request("GET", f"?cursor={cursor_of(user)}")
    assert_faults(stolen, ["query", "cursor"])


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("limit=0", ["limit"]),
        ("limit=1001", ["limit"]),
        ("limit=-1", ["limit"]),
        ("limit=", ["limit"]),
        ("limit", ["limit"]),
        ("limit=1.0", ["limit"]),
        ("limit=1e2", ["limit"]),
        ("limit=+1", ["limit"]),
        ("limit=%201", ["limit"]),
        ("limit=%D9%A1", ["limit"]),
        ("limit=" + "9" * 3000, ["limit"]),
        ("limit=1&limit=1", ["limit"]),
        ("sort=", ["sort"]),
        ("sort=title", ["sort"]),
        ("sort=Created_at", ["sort"]),
        ("sort=-updated_at", ["sort"]),
        ("sort=created_at&sort=created_at", ["sort"]),
        ("completed=", ["completed"]),
        ("completed=True", ["completed"]),
        ("completed=1", ["completed"]),
        ("completed=true&completed=false", ["completed"]),
        ("cursor=x&cursor=y", ["cursor"]),
        ("q=a&q=b", ["q"]),
        ("limit=x&sort=x&completed=x&q=", ["limit", "sort", "completed", "q"]),
    ],
)
def test_it_rejects_bad_parameters(user: Account, query: str, parameters: list[str]) -> None:
    response = user.request("GET", f"?{query}")
    assert_faults(response, *(["query", name] for name in parameters))


@pytest.mark.parametrize(
    "query", ["x=1", "Limit=x", "limit%00=x", "skip=5&tag=2&tag=3", "=", "&&", "%ff=%ff"]
)
def test_it_ignores_unknown_parameters(user: Account, query: str) -> None:
    tasks = [user.create() for _ in range(2)]
    assert user.request("GET", f"?{query}").json() == tasks[::-1]
    pages = read_pages(user, f"{query}&limit=1")
    assert [task for page in pages for task in page] == tasks[::-1]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("status", "completed"),
        ("search", "q"),
        ("offset", "cursor"),
        ("page", "cursor"),
        ("order_by", "sort"),
    ],
)
def test_it_refuses_what_means_a_filter_elsewhere(user: Account, name: str, ours: str) -> None:
    """Ignored, it would let a client take all tasks for those that it asked for."""
    for query in (f"{name}=x", name, f"{name}=1&{name}=2", f"limit=1&{name}=x&new=1"):
        response = user.request("GET", f"?{query}")
        assert_faults(response, ["query", name])
        [fault] = response.json()["detail"]
        assert fault["msg"] == f"Not a parameter of this list: use {ours}"
    task = user.create()
    assert user.request("GET", f"/{task['id']}?{name}=x").json() == task
    assert user.request("GET", f"?{name.upper()}=x").json() == [task]


def test_all_foreign_parameters_are_named(user: Account) -> None:
    response = user.request("GET", "?page=2&status=open&limit=1&limit=1")
    assert_faults(response, ["query", "page"], ["query", "status"], ["query", "limit"])


def test_other_routes_have_no_parameters(user: Account) -> None:
    task = user.create()
    path = f"/{task['id']}?limit=x&cursor=x&q="
    assert user.request("GET", path).json() == task


@pytest.mark.one_server
@pytest.mark.parametrize("name", LIST_STATEMENTS)
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("with_cursor", [False, True])
def test_the_index_finds_a_page_and_gives_its_order(
    user: Account, database: psycopg.Connection, name: str, mode: str, with_cursor: bool
) -> None:
    """Whatever the filters: nothing is sorted, and nothing before the cursor is read."""
    insert_tasks(database, user, 3000)
    database.execute(
        "UPDATE tasks SET created_at = now() - title::integer * interval '1 s',"
        " due_on = date '2026-01-01' + title::integer, position = 'a' || title WHERE user_id = %s",
        [user.id],
    )
    database.execute("ANALYZE tasks")
    column, start = LIST_STATEMENTS[name]
    rows = database.execute(
        f"SELECT {column}, id FROM tasks WHERE user_id = %s ORDER BY {column} OFFSET 1500 LIMIT 1",
        [user.id],
    ).fetchone()
    assert rows is not None
    position = rows if with_cursor else start
    for completed, q in [(None, None), (False, None), (None, "1"), (False, "1")]:
        params = {
            "user_id": user.id,
            f"after_{column}": position[0],
            "after_id": position[1],
            "completed": completed,
            "q": q,
            "due_from": None,
            "due_to": None,
            "label": None,
            "priority_from": None,
            "priority_to": None,
            "limit": 10,
            "candidates": 11,
            "max_bytes": 2**21,
        }
        parts = re.split(r"%\((\w+)\)s", STATEMENTS[name].decode())
        names = list(dict.fromkeys(parts[1::2]))
        for index, part in enumerate(parts[1::2]):
            parts[2 * index + 1] = f"${names.index(part) + 1}"
        with database.transaction():
            database.execute(f"SET LOCAL plan_cache_mode = {mode}")
            database.execute(f"PREPARE page AS {''.join(parts)}")
            values = ", ".join(["%s"] * len(names))
            with psycopg.ClientCursor(database) as cursor:
                cursor.execute(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ({values})",
                    [params[name] for name in names],
                )
                row = cursor.fetchone()
            database.execute("DEALLOCATE page")
        assert row is not None
        plan = row[0][0]["Plan"]
        found = list(nodes(plan))
        assert not any("Sort" in node["Node Type"] for node in found)
        [scan] = [node for node in found if "Relation Name" in node]
        assert scan["Node Type"] == "Index Scan", scan
        order = ("created_at_id", "due_on_id", "position_id")
        assert scan["Index Name"] in {f"tasks_user_id_{columns}_idx" for columns in order}
        assert column in scan["Index Name"]
        place = "created_at" if column == "created_at" else "CASE WHEN "
        assert f"ROW({place}" in scan["Index Cond"]
        assert scan["Actual Rows"] == 11


def test_a_page_ends_at_two_mebibytes(user: Account, database: psycopg.Connection) -> None:
    """As JSON: a control character has six bytes there, and one in the request and the table."""
    database.execute(
        "INSERT INTO tasks (user_id, title, description)"
        " SELECT %s, n::text, repeat(E'\\x01', 10000) FROM generate_series(1, 100) AS n",
        [user.id],
    )
    url: str | None = f"{user.tasks}?limit=1000"
    titles = []
    sizes = []
    while url:
        response = user.client.get(url, headers=user.headers)
        titles += [task["title"] for task in response.json()]
        sizes.append(len(response.content))
        url = response.links["next"]["url"] if "next" in response.links else None
    assert sorted(titles, key=int) == [str(n) for n in range(1, 101)]
    assert 2 * 2**20 <= max(sizes) < 2 * 2**20 + 70_000
    assert len(sizes) == 3


def test_a_filter_reads_so_many_tasks_and_its_link_goes_on(
    user: Account, database: psycopg.Connection
) -> None:
    """10,000 of them a page: what is far behind is found by following the Links."""
    insert_tasks(database, user, 25_000)
    database.execute(
        "UPDATE tasks SET title = 'needle', completed = true WHERE user_id = %s AND title = '1'",
        [user.id],
    )
    database.execute("ANALYZE tasks")
    for query in ("q=needle", "completed=true"):
        url: str | None = f"{user.tasks}?{query}"
        pages = []
        while url:
            response = user.client.get(url, headers=user.headers)
            pages.append([task["title"] for task in response.json()])
            url = response.links["next"]["url"] if "next" in response.links else None
        assert sorted(map(len, pages)) == [0, 0, 1]
        assert ["needle"] in pages


FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("completed=false", {"completed": False}),
    ("completed=true", {"completed": True}),
    ("q=AN", {"title": "banana"}),
    ("q=an&completed=true", {"title": "banana", "completed": True}),
]
TITLES = ["banana", "cherry"]
TASKS = st.lists(
    st.tuples(st.sampled_from(TITLES), st.booleans(), st.integers(0, 2)), min_size=1, max_size=12
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["create", "delete", "change"]),
        st.integers(0, 11),
        st.sampled_from(TITLES),
        st.booleans(),
    ),
    max_size=4,
)


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    tasks=TASKS,
    changes=st.lists(CHANGES, max_size=8),
    limit=st.integers(1, 5),
    filter=st.sampled_from(FILTERS),
    sort=st.sampled_from(["-created_at", "created_at"]),
)
def test_what_stays_appears_exactly_once_and_in_order(
    *,
    client: httpx.Client,
    database: psycopg.Connection,
    tasks: list[tuple[str, bool, int]],
    changes: list[list[tuple[str, int, str, bool]]],
    limit: int,
    filter: tuple[str, dict[str, Any]],
    sort: str,
) -> None:
    """Tasks are made, deleted and changed between the pages, some in the same microsecond."""
    user = Account.insert(client, database)
    query, wanted = filter
    made: list[dict[str, Any]] = []
    for title, completed, microseconds in tasks:
        task = user.create(title, completed=completed)
        database.execute(
            "UPDATE tasks SET created_at = '2026-01-01 00:00:00+00'::timestamptz"
            " + %s * interval '1 microsecond' WHERE id = %s",
            [microseconds, task["id"]],
        )
        made.append(user.request("GET", f"/{task['id']}").json())

    def matches(task: dict[str, Any]) -> bool:
        return all(task[name] == value for name, value in wanted.items())

    staying = {task["id"] for task in made if matches(task)}
    seen: list[dict[str, Any]] = []
    rounds = iter(changes)
    url: str | None = f"{user.tasks}?{query}&limit={limit}&sort={sort}"
    while url:
        response = follow(user, url)
        page = response.json()
        assert len(page) <= limit
        assert all(matches(task) for task in page)
        seen += page
        url = next_url(response)
        for what, number, title, completed in next(rounds, []):
            task = made[number % len(made)]
            path = f"/{task['id']}"
            if what == "create":
                made.append(user.create(title, completed=completed))
            elif what == "delete":
                user.request("DELETE", path)
                staying.discard(task["id"])
            else:
                user.request("PATCH", path, json={"title": title, "completed": completed})
                if not matches(task | {"title": title, "completed": completed}):
                    staying.discard(task["id"])
    order = [(task["created_at"], task["id"]) for task in seen]
    assert order == sorted(set(order), reverse=sort == "-created_at")
    assert staying <= {task["id"] for task in seen}
