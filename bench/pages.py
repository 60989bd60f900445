"""What page 1 and page 1,000 of a user's list cost by HTTP, measured in turn in one run.

The user is one among many: the tasks of all of them lie in the table in the order of their time.
It starts a PostgreSQL and a gunicorn of its own, and prints the two medians, the median of the
ratios of each round, and the plans of both pages. The exit code is 1 if the pages differ by more
than 10 %.
"""

from __future__ import annotations

import argparse
import itertools
import re
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

LIMIT = 200
TOLERANCE = 0.1
# How many tasks the others have for each of the user's.
OTHERS = 2
FILL = """
INSERT INTO tasks (user_id, title, description, created_at, updated_at)
SELECT
    CASE WHEN number %% {each} = 0 THEN %(user_id)s::uuid ELSE others.ids[1 + number %% 1000] END,
    'task ' || number,
    repeat('x', 100),
    timestamptz '2026-01-01' + number * interval '1 minute',
    timestamptz '2026-01-01' + number * interval '1 minute'
FROM
    generate_series(1, %(tasks)s::integer * {each}) AS number,
    (SELECT array_agg(id) AS ids FROM users WHERE password_hash = '!') AS others
""".format(each=1 + OTHERS)


def fill(database: psycopg.Connection, user: Account, tasks: int) -> None:
    """Give the user so many tasks, and others their own in between."""
    database.execute(
        "INSERT INTO users (email, password_hash)"
        " SELECT number || '@example.com', '!' FROM generate_series(1, 1000) AS number"
    )
    database.execute(FILL.encode(), {"user_id": user.id, "tasks": tasks})
    database.execute("VACUUM ANALYZE")


def find_page(user: Account, number: int) -> str:
    """Follow the Links to the page, which is not the last one, and return its URL."""
    url = f"{user.tasks}?limit={LIMIT}"
    for _ in range(number - 1):
        url = user.client.get(url, headers=user.headers).links["next"]["url"]
    assert "next" in user.client.get(url, headers=user.headers).links
    return url


def time_in_turn(user: Account, urls: list[str], rounds: int) -> list[list[float]]:
    """GET each URL in turn, again and again; return the milliseconds of each.

    Every other round is in the opposite order, so that none is favoured by what went before it.
    """
    times: dict[str, list[float]] = {url: [] for url in urls}
    orders = itertools.cycle([urls, urls[::-1]])
    for order in itertools.islice(orders, rounds):
        for url in order:
            started = time.perf_counter()
            response = user.client.get(url, headers=user.headers)
            times[url].append((time.perf_counter() - started) * 1000)
            assert len(response.json()) == LIMIT
    return list(times.values())


def explain(database: psycopg.Connection, user: Account, tasks_before: int) -> str:
    """Return the plan of the page after so many tasks, with the buffers that it touched."""
    position = database.execute(
        "SELECT created_at, id FROM tasks WHERE user_id = %s"
        " ORDER BY created_at DESC, id DESC OFFSET %s LIMIT 1",
        [user.id, max(tasks_before - 1, 0)],
    ).fetchone()
    assert position is not None
    params = {
        # No filter
        **dict.fromkeys(re.findall(r"%\((\w+)\)s", STATEMENTS["list_tasks"].decode())),
        "user_id": user.id,
        "after_created_at": position[0] if tasks_before else NEWEST.value,
        "after_id": position[1] if tasks_before else NEWEST.id,
        "limit": LIMIT,
        "candidates": LIMIT + 1,
        "max_bytes": MAX_PAGE_BYTES,
    }
    acting = {
        "role": "taskapi_user",
        "user_id": user.id,
        "issued_at": 0.0,
        "email": "",
        "statement_timeout": "0",
        "max_tasks": "100000",
    }
    with database.transaction(), psycopg.ClientCursor(database) as cursor:
        cursor.execute(STATEMENTS["act_as"], acting)
        statement = b"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + STATEMENTS["list_tasks"]
        cursor.execute(statement, params)
        return "\n".join(f"    {line}" for (line,) in cursor)


def main() -> None:
    """Make the tasks, measure, explain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=int, default=1000, metavar="NUMBER")
    parser.add_argument("--rounds", type=int, default=500)
    options = parser.parse_args()
    tasks = (options.page + 1) * LIMIT
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
            fill(database, user, tasks)
            pages = [find_page(user, number) for number in (1, options.page)]
            first, deep = time_in_turn(user, pages, options.rounds)
            ratio = statistics.median(d / f for f, d in zip(first, deep, strict=True))
            print(
                f"{options.rounds} rounds, {LIMIT} tasks a page, {tasks:,} tasks of the user among"
                f" {tasks * (1 + OTHERS):,}; medians in ms"
            )
            print(f"page 1: {statistics.median(first):.2f}")
            print(f"page {options.page:,}: {statistics.median(deep):.2f}")
            print(f"ratio: {ratio:.3f}")
            for number in (1, options.page):
                print(f"\nthe plan of page {number:,}:")
                print(explain(database, user, (number - 1) * LIMIT))
        service.stop()
    sys.exit(abs(ratio - 1) > TOLERANCE)


if __name__ == "__main__":
    main()
