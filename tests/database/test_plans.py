"""Every statement is planned as it should be, on a filled database and under the policies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from taskapi.database.statements import STATEMENTS
from tests.support.fixtures import MakeDatabase
from tests.support.plans import (
    DISK,
    EXPECTED,
    count_buffers,
    explain,
    faults,
    fill,
    find_users,
    plan_of,
    statement_of,
)

LISTS = [name for name in EXPECTED if re.fullmatch(r"list_tasks\w*", name)]
Users = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def filled(make_database: MakeDatabase, migrated: str) -> str:
    url = make_database(migrated)
    fill(url)
    return url


@pytest.fixture(scope="module")
def users(filled: str) -> Users:
    return find_users(filled)


@pytest.fixture(scope="module")
def conn(filled: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(filled, autocommit=True) as conn:
        yield conn


def test_the_database_is_as_unequal_as_a_real_one(conn: psycopg.Connection[Any]) -> None:
    counts = [
        count for (count,) in conn.execute("SELECT count(*) FROM tasks GROUP BY user_id").fetchall()
    ]
    assert sum(counts) >= 200_000
    assert max(counts) == 100_000
    assert sum(count < 20 for count in counts) > 10_000


def test_every_statement_has_an_expectation() -> None:
    unexplained = {"begin", "commit", "share_settings"}
    assert {statement_of(name) for name in EXPECTED} == set(STATEMENTS) - unexplained


@pytest.mark.parametrize(
    ("mode", "executions"), [("auto", 8), ("force_custom_plan", 1), ("force_generic_plan", 1)]
)
@pytest.mark.parametrize("kind", ["very many", "many", "few", "none"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_plan_is_the_one_we_want(
    conn: psycopg.Connection[Any], users: Users, name: str, kind: str, mode: str, executions: int
) -> None:
    """By its indexes, by their conditions, and by the pages that it reads."""
    plan = plan_of(conn, name, users[kind], mode, executions)
    assert faults(name, plan) == [], plan


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("kind", ["very many", "many", "few"])
@pytest.mark.parametrize(
    "name",
    ["list_tasks", "list_tasks_oldest_first", "list_tasks_by_due_on", "list_tasks_by_position"],
)
def test_a_page_goes_by_its_index_on_disks_too(
    conn: psycopg.Connection[Any], users: Users, name: str, kind: str, mode: str
) -> None:
    """With the default random_page_cost, for which the planner would rather sort 500 tasks."""
    page = {"limit": 20, "candidates": 21}
    plan = plan_of(conn, name, users[kind], mode, 1, DISK, **page)
    # Ten tasks, which are all of the user's, may be sorted.
    assert kind == "few" or faults(name, plan) == [], plan
    assert count_buffers(plan) < 60


@pytest.fixture(scope="module")
def contents(conn: psycopg.Connection[Any]) -> object:
    return read_contents(conn)


def read_contents(conn: psycopg.Connection[Any]) -> object:
    return conn.execute("SELECT count(*), sum(hashtext(tasks::text)) FROM tasks").fetchone()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_make_explain_prints(
    conn: psycopg.Connection[Any], users: Users, contents: object, name: str
) -> None:
    """Each statement is run for it, a write too, and leaves nothing behind."""
    lines = explain(conn, name, users["few"], "ANALYZE, BUFFERS", "auto")
    assert lines[-1].startswith("Execution Time: ")
    assert read_contents(conn) == contents


def test_a_plan_without_its_index_is_found_out(conn: psycopg.Connection[Any], users: Users) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute("DROP INDEX tasks_user_id_created_at_id_idx")
        found = faults("list_tasks", plan_of(conn, "list_tasks", users["few"], "auto"))
    assert found[0].endswith(", not ['tasks_user_id_created_at_id_idx']")
    assert found[1] == "sorts"
    assert found[2].startswith("has ")


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_position_that_is_only_a_filter_is_found_out(
    conn: psycopg.Connection[Any], users: Users, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """It has the index and the order of the right one, and reads all that comes before its page."""
    text = STATEMENTS["list_tasks"]
    position = b"(created_at, id) < (%(after_created_at)s::timestamptz, %(after_id)s::uuid)"
    spelled_out = (
        b"(created_at < %(after_created_at)s::timestamptz OR (created_at ="
        b" %(after_created_at)s::timestamptz AND id < %(after_id)s::uuid))"
    )
    assert position in text
    monkeypatch.setitem(STATEMENTS, "list_tasks", text.replace(position, spelled_out))
    name = "list_tasks, from the middle"
    found = faults(name, plan_of(conn, name, users["very many"], mode))
    assert [fault.split()[0] for fault in found] == ["has", "reads"]
