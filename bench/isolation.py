"""Measure what it costs that the database keeps users apart.

Each query of a user is timed on two connections in turn: as the service runs it, after act_as and
under the policies, and alone, as a superuser whom no policy binds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "deploy" / "local")]

import psycopg  # noqa: E402
from embedded_postgres import EmbeddedPostgres  # noqa: E402

from taskapi.config import load_config  # noqa: E402
from taskapi.db import Database  # noqa: E402
from taskapi.migrations import apply_migrations  # noqa: E402
from taskapi.sql_files import STATEMENTS  # noqa: E402

ROUNDS = 3000
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
        apply_migrations(server.url)
        config = load_config({"DATABASE_URL": server.url, "JWT_SECRET": "-" * 32})
        database = Database(config)
        database.open()
        try:
            with psycopg.connect(server.url, autocommit=True) as dba:
                compare(database, dba)
        finally:
            database.close()


def compare(database: Database, dba: psycopg.Connection) -> None:
    """Time each query both ways."""
    for statement in FILL:
        dba.execute(statement)
    row = dba.execute("SELECT user_id::text, id::text FROM tasks LIMIT 1").fetchone()
    assert row is not None
    user_id, task_id = row
    print(f"medians of {ROUNDS}, µs:  alone  isolated  ratio")
    for name, params in (
        ("get_task", {"id": task_id}),
        ("list_tasks", {}),
        ("complete_task", {"id": task_id, "completed": None}),
        ("create_task", {"title": "x", "description": None, "completed": False}),
    ):
        # Neither repeats anything here, so that write() serves for both
        isolated = timer(lambda: database.as_user(user_id).write(name, **params))  # noqa: B023
        alone = timer(lambda: alone_as_superuser(database, name, user_id, params))  # noqa: B023
        times = [(alone(), isolated()) for _ in range(ROUNDS)]
        before, after = (statistics.median(column) * 1e6 for column in zip(*times, strict=True))
        print(f"{name:<20} {before:6.0f} {after:9.0f} {after / before:6.2f}")


def alone_as_superuser(
    database: Database, name: str, user_id: str, params: dict[str, Any]
) -> list[Any]:
    """Run the statement as the service would without isolation: on a pooled connection, alone."""
    with database._connection() as conn:
        return conn.execute(STATEMENTS[name], {**params, "user_id": user_id}).fetchall()


def timer(run: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs once and returns the seconds that it took."""

    def timed() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return timed


if __name__ == "__main__":
    main()
