"""Measure what it costs that the database keeps users apart.

Each query of a user is timed on three connections in turn: alone, as a superuser that no policy
binds; after act_as and under the policies, which check no signature, in a copy of the database; and
as the service runs it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import psycopg  # noqa: E402
from embedded_postgres import EmbeddedPostgres  # noqa: E402

from taskapi.config import load_config  # noqa: E402
from taskapi.database.identity import derive_key  # noqa: E402
from taskapi.database.pool import QUERIES, Database  # noqa: E402
from taskapi.migrate.run import apply_migrations  # noqa: E402

ROUNDS = 3000
CREATION = {"members": {"title": "x", "completed": False}}
WHOLE_LIST = {
    "after_created_at": "infinity",
    "after_id": "f" * 8 + "-ffff-ffff-ffff-" + "f" * 12,
    "completed": None,
    "q": None,
    "limit": 1000,
    "candidates": 1001,
    "max_bytes": 2**21,
}
USERS, TASKS_EACH = 1000, 50
FILL = (
    "INSERT INTO users (email, password_hash)"
    f" SELECT n || '@example.com', '!' FROM generate_series(1, {USERS}) AS n",
    "INSERT INTO tasks (user_id, title)"
    f" SELECT id, 'task ' || n FROM users, generate_series(1, {TASKS_EACH}) AS n",
    "ANALYZE",
)
# As migration 0003 has the function: whoever says so is the user.
UNSIGNED = """
CREATE OR REPLACE FUNCTION current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE
        WHEN current_setting('app.user_id', true)
            ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
            THEN current_setting('app.user_id', true)::uuid
    END
"""


def main() -> None:
    """Print the medians in microseconds and their ratio, for each query."""
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute("CREATE DATABASE signed")
            signed, unsigned = (server.url_of("postgres", name) for name in ("signed", "unsigned"))
            apply_migrations(signed, keys=[derive_key("-" * 32)])
            with psycopg.connect(signed, autocommit=True) as dba:
                for statement in FILL:
                    dba.execute(statement)
            admin.execute("CREATE DATABASE unsigned TEMPLATE signed")
        with psycopg.connect(unsigned, autocommit=True) as dba:
            dba.execute(UNSIGNED)
        # One connection each: a plan that serves two roles in turn is made again each time.
        one = {"DB_POOL_MIN": "1", "DB_POOL_MAX": "1", "JWT_SECRET": "-" * 32}
        with (
            psycopg.connect(signed, autocommit=True) as dba,
            closing(Database(load_config({**one, "DATABASE_URL": signed}))) as alone,
            closing(Database(load_config({**one, "DATABASE_URL": unsigned}))) as trusting,
            closing(Database(load_config({**one, "DATABASE_URL": signed}))) as isolated,
        ):
            for database in (alone, trusting, isolated):
                database.open()
            compare(alone, trusting, isolated, dba)


def compare(
    alone: Database, trusting: Database, isolated: Database, dba: psycopg.Connection
) -> None:
    """Time each query in all ways."""
    row = dba.execute("SELECT user_id::text, id::text FROM tasks LIMIT 1").fetchone()
    assert row is not None
    user_id, task_id = row
    print(f"medians of {ROUNDS}, µs:  alone  unsigned  as served  ratios")
    for name, params in (
        ("get_task", {"id": task_id}),
        ("list_tasks", WHOLE_LIST),
        ("complete_task", {"id": task_id, "completed": None, "versions": None}),
        ("create_task", CREATION),
    ):
        # Nothing breaks here, so that write() is the same as read().
        runs = [
            timer(partial(run_alone, alone, name, {**params, "user_id": user_id})),
            *(
                timer(partial(database.as_user(user_id, issued_at=0.0).write, name, **params))
                for database in (trusting, isolated)
            ),
        ]
        times = zip(*([run() for run in runs] for _ in range(ROUNDS)), strict=True)
        before, trusted, after = (statistics.median(column) * 1e6 for column in times)
        print(
            f"{name:<20} {before:6.0f} {trusted:9.0f} {after:10.0f}"
            f"  {after / before:.2f} {after / trusted:.2f}"
        )


def run_alone(database: Database, name: str, params: dict[str, Any]) -> list[Any]:
    """Run the statement on a pooled connection by itself, as the superuser."""
    with database._connection() as conn:
        [result] = conn.exchange((QUERIES[name], params), timeout=60)
        return conn.load_rows(result)


def timer(run: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs once and returns the seconds that it took."""

    def timed() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return timed


if __name__ == "__main__":
    main()
