"""What page 1 and page 1,000 of 200,000 tasks cost, measured in turn in one run.

It starts a PostgreSQL and a gunicorn of its own, and prints the two medians, their ratio, and the
plans of both.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from embedded_postgres import EmbeddedPostgres  # noqa: E402

from taskapi.database.statements import STATEMENTS  # noqa: E402
from taskapi.tasks.queries import MAX_PAGE_BYTES, NEWEST  # noqa: E402
from tests.support.accounts import Account  # noqa: E402
from tests.support.service import Service, migrate  # noqa: E402

TASKS = 200_000
LIMIT = 200
ROUNDS = 500


def find_last_page(user: Account) -> tuple[str, int]:
    """Follow the Links to their end; return the last page's URL and number."""
    url, number = f"{user.tasks}?limit={LIMIT}", 1
    while link := user.client.get(url, headers=user.headers).links.get("next"):
        url, number = link["url"], number + 1
    return url, number


def time_in_turn(user: Account, urls: list[str]) -> list[list[float]]:
    """GET each URL in turn, again and again; return the milliseconds of each."""
    times: list[list[float]] = [[] for _ in urls]
    for _ in range(ROUNDS):
        for url, mine in zip(urls, times, strict=True):
            started = time.perf_counter()
            response = user.client.get(url, headers=user.headers)
            mine.append((time.perf_counter() - started) * 1000)
            assert len(response.json()) == LIMIT
    return times


def explain(database: psycopg.Connection, user: Account, tasks_before: int) -> str:
    """Return the plan of the page after so many tasks, with the buffers that it touched."""
    position = database.execute(
        "SELECT created_at, id FROM tasks WHERE user_id = %s"
        " ORDER BY created_at DESC, id DESC OFFSET %s LIMIT 1",
        [user.id, max(tasks_before - 1, 0)],
    ).fetchone()
    assert position is not None
    params = {
        "user_id": user.id,
        "after_created_at": position[0] if tasks_before else NEWEST.created_at,
        "after_id": position[1] if tasks_before else NEWEST.id,
        "completed": None,
        "q": None,
        "limit": LIMIT,
        "candidates": LIMIT + 1,
        "max_bytes": MAX_PAGE_BYTES,
    }
    acting = {"role": "taskapi_user", "user_id": user.id, "email": "", "statement_timeout": "0"}
    with database.transaction(), psycopg.ClientCursor(database) as cursor:
        cursor.execute(STATEMENTS["act_as"], acting)
        statement = b"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + STATEMENTS["list_tasks"]
        cursor.execute(statement, params)
        return "\n".join(f"    {line}" for (line,) in cursor)


def main() -> None:
    """Make the tasks, measure, explain."""
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as postgres,
    ):
        migrate(postgres.url)
        service = Service(Path(folder) / "gunicorn.log", {"DATABASE_URL": postgres.url})
        service.start()
        with (
            service.client() as client,
            psycopg.connect(postgres.url, autocommit=True) as database,
        ):
            user = Account.sign_up(client)
            database.execute(
                "INSERT INTO tasks (user_id, title, description, created_at)"
                " SELECT %s, 'task ' || number, repeat('x', 100),"
                " now() - random() * interval '1 year' FROM generate_series(1, %s) AS number",
                [user.id, TASKS],
            )
            database.execute("VACUUM ANALYZE tasks")
            last, number = find_last_page(user)
            first, deep = time_in_turn(user, [f"{user.tasks}?limit={LIMIT}", last])
            medians = statistics.median(first), statistics.median(deep)
            print(f"{ROUNDS} rounds, {LIMIT} of {TASKS} tasks a page, median in ms")
            print(f"page 1: {medians[0]:.2f}")
            print(f"page {number}: {medians[1]:.2f}")
            print(f"ratio: {medians[1] / medians[0]:.3f}")
            for page in (1, number):
                print(f"\nthe plan of page {page}:")
                print(explain(database, user, (page - 1) * LIMIT))
        service.stop()


if __name__ == "__main__":
    main()
