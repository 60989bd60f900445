"""What each migration since the release before costs on a large table that is in use.

It starts a PostgreSQL of its own, fills it at the schema of the release before, and applies each
later migration alone, as `python -m taskapi migrate apply` does. Meanwhile one session changes a
task, and another one reads a task, again and again: the longest that each of them had to wait is
what a request notices. The first row is the same without a migration. It prints the tables of
docs/database.md, and renews them there with --save.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from dataset import READER, WRITER, Dataset, task_id, user_id  # noqa: E402
from embedded_postgres import EmbeddedPostgres  # noqa: E402

from taskapi.database.statements import released_migrations  # noqa: E402
from taskapi.migrate.files import number_of  # noqa: E402
from taskapi.migrate.run import apply_migrations  # noqa: E402
from tests.support.database_docs import save_tables  # noqa: E402
from tests.support.releases import LAST_MIGRATION  # noqa: E402

# A large table's server has more than the default of 1 GB, or it would make a checkpoint a minute.
SETTINGS = {"max_wal_size": "8GB"}
READ = "SELECT title FROM tasks WHERE user_id = %s AND id = %s"
WRITE = "UPDATE tasks SET completed = NOT completed WHERE user_id = %s AND id = %s"
# Seconds between two statements of a session, and without a migration.
PAUSE = 0.002
QUIET = 20.0
# Building an index at once is quicker than keeping it while ten million rows come.
BEFORE_FILLING = (
    "ALTER TABLE tasks DROP CONSTRAINT tasks_pkey",
    "DROP INDEX tasks_user_id_created_at_id_idx",
)
AFTER_FILLING = (
    "ALTER TABLE tasks ADD CONSTRAINT tasks_pkey PRIMARY KEY (id)",
    "CREATE INDEX tasks_user_id_created_at_id_idx ON tasks (user_id, created_at DESC, id DESC)",
)
PARTS = """
SELECT relname, pg_table_size(oid) FROM pg_class
WHERE oid = 'tasks'::regclass
    OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'tasks'::regclass)
ORDER BY relkind DESC, relname
"""


class LargeDataset(Dataset):
    """A database at the schema of the release before, filled without its large indexes."""

    def run(self, name: str, **params: Any) -> list[Any]:
        if name != "fill":
            return super().run(name, **params)
        for statement in BEFORE_FILLING:
            self._execute(statement)
        self._execute("SET maintenance_work_mem = '1GB'")
        rows = super().run(name, **params)
        for statement in AFTER_FILLING:
            self._execute(statement)
        return rows


class Waits:
    """Two sessions that use tasks all the time, and the longest that each had to wait."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.write = self.read = 0.0
        self._ended = threading.Event()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure during the block."""
        begun = threading.Barrier(3)
        with ThreadPoolExecutor(2) as threads:
            sessions = [
                threads.submit(self._use, statement, user, begun)
                for statement, user in ((WRITE, WRITER), (READ, READER))
            ]
            begun.wait()
            try:
                yield
            finally:
                self._ended.set()
            self.write, self.read = (session.result() for session in sessions)

    def _use(self, statement: str, user: int, begun: threading.Barrier) -> float:
        numbers = random.sample(range(1000 * user - 999, 1000 * user + 1), 1000)
        longest = 0.0
        with psycopg.connect(self.url, autocommit=True, prepare_threshold=1) as conn:
            begun.wait()
            for number in itertools.cycle(numbers):
                if self._ended.wait(PAUSE):
                    break
                started = time.perf_counter()
                conn.execute(statement.encode(), [user_id(user), task_id(number)])
                longest = max(longest, time.perf_counter() - started)
        return longest


def measure(url: str, what: str, run: Callable[[], object]) -> str:
    """Run something beside the two sessions and return its row."""
    waits = Waits(url)
    with psycopg.connect(url, autocommit=True) as dba:
        before = database_size(dba)
        started = time.perf_counter()
        with waits.measured():
            run()
            took = time.perf_counter() - started
        after = database_size(dba)
    cells = (
        what,
        f"{took:.1f} s",
        f"{waits.write * 1000:,.0f} ms",
        f"{waits.read * 1000:,.0f} ms",
        f"{after / 1e9:.2f} GB",
        f"{(after - before) / 1e6:+,.0f} MB",
    )
    return f"| {' | '.join(cells)} |"


def database_size(dba: psycopg.Connection[Any]) -> int:
    """Return the bytes of the database."""
    row = dba.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def bytes_a_task(url: str, tasks: int) -> dict[str, float]:
    """Return the bytes a task of the table and of each index."""
    with psycopg.connect(url, autocommit=True) as dba:
        return {name: size / tasks for name, size in dba.execute(PARTS)}


def compare_bytes(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Return a table of the bytes of a task before and after."""
    names = [*after, *(name for name in before if name not in after)]
    parts = {name: [of.get(name, 0) for of in (before, after)] for name in names}
    parts["all"] = [sum(of.values()) for of in (before, after)]
    lines = ["| Bytes a task | Before | After |", "| --- | --- | --- |"]
    return lines + [f"| {name} | {old:.0f} | {new:.0f} |" for name, (old, new) in parts.items()]


def measure_migrations(dataset: Dataset, quiet: float) -> list[str]:
    """Apply each migration, and return the tables, whose lines are printed as they come."""
    lines: list[str] = []

    def tell(*more: str) -> None:
        lines.extend(more)
        print(*more, sep="\n", flush=True)

    tell(
        "| Migration | Took | Longest write | Longest read | Database after | Growth |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    before = bytes_a_task(dataset.url, dataset.tasks)
    tell(measure(dataset.url, "none", lambda: time.sleep(quiet)))
    for id in released_migrations():
        number = number_of(id)
        if number > LAST_MIGRATION:
            apply = partial(apply_migrations, dataset.url, to=number, report=report)
            tell(measure(dataset.url, id, apply))
    tell("", *compare_bytes(before, bytes_a_task(dataset.url, dataset.tasks)))
    return lines


def main() -> None:
    """Fill, migrate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000_000)
    parser.add_argument("--quiet", type=float, default=QUIET, help="seconds without a migration")
    parser.add_argument("--save", action="store_true", help="renew docs/database.md")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", settings=SETTINGS) as postgres,
        closing(LargeDataset(postgres.url, "migrations", options.tasks)) as dataset,
    ):
        started = time.perf_counter()
        dataset.make(LAST_MIGRATION)
        print(f"{options.tasks:,} tasks, filled in {time.perf_counter() - started:.0f} s\n")
        lines = measure_migrations(dataset, options.quiet)
    if options.save:
        save_tables("migrations", lines)


def report(line: str) -> None:
    """Show what a migration waits for, and how far it is."""
    print(f"    {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
