"""Measure what it costs that the database keeps users apart.

Each query of a user is timed on two connections in turn: alone, as a superuser that no policy
binds, and as the service runs it, after act_as and under the policies.
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


def main() -> None:
    """Print the medians in microseconds and their ratio, for each query."""
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        apply_migrations(server.url, keys=[derive_key("-" * 32)])
        # One connection each: a plan that serves two roles in turn is made again each time.
        one = {"DB_POOL_MIN": "1", "DB_POOL_MAX": "1", "JWT_SECRET": "-" * 32}
        config = load_config({**one, "DATABASE_URL": server.url})
        with (
            psycopg.connect(server.url, autocommit=True) as dba,
            closing(Database(config)) as alone,
            closing(Database(config)) as isolated,
        ):
            alone.open()
            isolated.open()
            compare(alone, isolated, dba)


def compare(alone: Database, isolated: Database, dba: psycopg.Connection) -> None:
    """Time each query both ways."""
    for statement in FILL:
        dba.execute(statement)
    row = dba.execute("SELECT user_id::text, id::text FROM tasks LIMIT 1").fetchone()
    assert row is not None
    user_id, task_id = row
    print(f"medians of {ROUNDS}, µs:  alone  isolated  ratio")
    for name, params in (
        ("get_task", {"id": task_id}),
        ("list_tasks", WHOLE_LIST),
        ("complete_task", {"id": task_id, "completed": None, "versions": None}),
        ("create_task", CREATION),
    ):
        # Nothing breaks here, so that write() is the same as read().
        act = timer(partial(isolated.as_user(user_id, issued_at=0.0).write, name, **params))
        run = timer(partial(run_alone, alone, name, {**params, "user_id": user_id}))
        times = [(run(), act()) for _ in range(ROUNDS)]
        before, after = (statistics.median(column) * 1e6 for column in zip(*times, strict=True))
        print(f"{name:<20} {before:6.0f} {after:9.0f} {after / before:6.2f}")


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
