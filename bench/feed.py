"""Measure what the change feed, batches and own clocks of users cost, everything in turn.

Three databases of one PostgreSQL have the same tasks. One is as the migrations make it; in the
second no clock is locked and no deletion noted; the third has no index for the feed either. The
same taskapi serves each. What passes the network is loaded by wrk as in `make bench`; a batch, 100
POSTs, a poll of the feed and a read come one after the other on one connection.

Ratios are medians of the ratios in each round. Processor time, of the workers and PostgreSQL
together, is what tells most on a machine that others use too. How a change could be noted instead
is what feed_storage.py measures, in SQL alone.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import psycopg  # noqa: E402
from dataset import CREATOR, READER, Dataset, task_id, user_id  # noqa: E402
from feed_storage import measure_storage  # noqa: E402
from load import REQUESTS, Audience, Target, spread_over  # noqa: E402
from rounds import Bench, Options, Row  # noqa: E402
from systems import TASKAPI, System, cpu_seconds  # noqa: E402

WITHOUT_CLOCK = """
CREATE OR REPLACE FUNCTION advance_clock(
    of_user uuid, after timestamptz DEFAULT '-infinity'
) RETURNS timestamptz
    LANGUAGE sql STABLE AS $$ SELECT now() $$;
CREATE OR REPLACE FUNCTION tasks_set_updated_at() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := greatest(now(), OLD.updated_at + interval '1 microsecond');
    RETURN NEW;
END;
$$;
DROP TRIGGER tasks_set_times ON tasks;
DROP TRIGGER tasks_note_deletion ON tasks;
"""
WAYS = {
    "as it is": "",
    "no clock": WITHOUT_CLOCK,
    "no clock, no index": WITHOUT_CLOCK + "DROP INDEX tasks_user_id_updated_at_id_idx;",
}
MEASURED = [REQUESTS[name] for name in ("read", "create", "put", "toggle")]
CONNECTIONS = 16
MANY = 400
OPERATIONS = 100
POLLS = 100


class Caller:
    """Requests of one user on one connection that is kept open."""

    def __init__(self, system: System, postgres_pid: int, user: int, token: str) -> None:
        self._pids = (system.pid, postgres_pid)
        self._path = f"/api/{user_id(user)}/tasks"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection("127.0.0.1", system.port)

    def send(
        self, method: str, path: str, status: int, body: object = None, **headers: str
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """Send a request and return the head and body of its response, which has this status."""
        content = None if body is None else json.dumps(body)
        self._connection.request(method, self._path + path, content, {**self._headers, **headers})
        response = self._connection.getresponse()
        read = response.read()
        assert response.status == status, read
        return response.headers, read

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def time(self, run: Callable[[], object]) -> tuple[float, float]:
        """Return the seconds that a function takes, and those of processors."""
        before, started = self._processor(), time.perf_counter()
        run()
        passed = time.perf_counter() - started
        return passed, self._processor() - before

    def _processor(self) -> float:
        return sum(map(cpu_seconds, self._pids))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", default="requests,batch,poll,storage", metavar="NAMES")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load by wrk (3)")
    parser.add_argument("--tasks", type=int, default=10_000_000, help="of the part storage")
    parser.add_argument("--toggles", type=int, default=1_000_000, help="of the part storage")
    given = parser.parse_args()
    parts = given.parts.split(",")
    options = Options(parts, [], MEASURED, [CONNECTIONS], given.rounds, given.seconds, True, False)
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as name:
        folder = Path(name)
        if {"requests", "batch", "poll"} & {*parts}:
            with Bench(options, folder, 1) as bench:
                if "requests" in parts:
                    measure_requests(bench)
                if "batch" in parts:
                    measure_batch(bench)
                if "poll" in parts:
                    measure_poll(bench)
        if "storage" in parts:
            measure_storage(folder / "storage", given.tasks, given.toggles, given.rounds)


def measure_requests(bench: Bench) -> None:
    """Load each way with each request: all by one user, and by 400."""
    with ExitStack() as stack:
        datasets = [
            bench.make_dataset(f"way_{number}", bench.dataset.tasks, stack)
            for number in range(len(WAYS))
        ]
        for dataset, statements in zip(datasets, WAYS.values(), strict=True):
            with psycopg.connect(dataset.url, autocommit=True) as dba:
                dba.execute(statements.encode())
        print_row("request", "users", "database", "a second", "ratio", "processor, µs", "ratio")
        print_row(*["---"] * 7)
        for users, audiences in (
            ("one", [Audience()] * len(WAYS)),
            (str(MANY), [spread_over(dataset, MANY) for dataset in datasets]),
        ):
            systems = [
                bench.make_system(TASKAPI, dataset, name=f"{way} {users}")
                for way, dataset in zip(WAYS, datasets, strict=True)
            ]
            with bench.targets(systems, datasets, audiences) as targets:
                for request in MEASURED:
                    rows = bench.measure_in_turn(targets, request, [CONNECTIONS])
                    print_request(request.title, users, rows)


def print_request(title: str, users: str, rows: Sequence[Row]) -> None:
    """Print what a request costs each way, with the ratios to the first."""
    rates = [[turn["requests_per_second"] for turn in row["rounds"]] for row in rows]
    costs = [
        [(turn["workers_cpu"] + turn["postgres_cpu"]) * 1000 for turn in row["rounds"]]
        for row in rows
    ]
    for way, rate, cost in zip(WAYS, rates, costs, strict=True):
        print_row(
            *(title, users, way, f"{statistics.median(rate):,.0f}", ratio(rate, rates[0])),
            *(f"{statistics.median(cost):.0f}", ratio(cost, costs[0])),
        )


def measure_batch(bench: Bench) -> None:
    """Create 100 tasks by one batch, and by 100 POSTs."""
    tasks = [
        {"title": f"feed {n} call the supplier", "description": "d" * 119}
        for n in range(OPERATIONS)
    ]
    batch = {"operations": [{"op": "create", **task} for task in tasks]}
    with calling(bench, CREATOR) as caller:

        def post_each() -> None:
            for task in tasks:
                caller.send("POST", "", 201, task)

        def post_batch() -> None:
            _, body = caller.send("POST", "/batch", 200, batch)
            assert all(result["status"] == 201 for result in json.loads(body)["results"])

        ways = {f"{OPERATIONS} POSTs": post_each, f"a batch of {OPERATIONS}": post_batch}
        compare(bench, caller, ways, OPERATIONS, lambda: forget(bench.dataset))


def forget(dataset: Dataset) -> None:
    """Delete what was created."""
    dataset.remove_created([user_id(CREATOR)], "feed ")
    dataset.tidy()


def measure_poll(bench: Bench) -> None:
    """Read a task, and poll the feed without a change: 304."""
    with calling(bench, READER) as caller:
        _, body = caller.send("GET", "/changes", 200)
        poll = f"/changes?since={json.loads(body)['next']}"
        head, _ = caller.send("GET", poll, 200)
        tag = str(head["ETag"])

        def read() -> None:
            for number in range(POLLS):
                caller.send("GET", f"/{task_id(number + 1)}", 200)

        def ask() -> None:
            for _ in range(POLLS):
                caller.send("GET", poll, 304, **{"If-None-Match": tag})

        ways = {"a read": read, "a poll: 304": ask}
        compare(bench, caller, ways, POLLS, lambda: None)


@contextmanager
def calling(bench: Bench, user: int) -> Iterator[Caller]:
    """Lend a connection of a user to taskapi on the usual database."""
    with bench.targets([bench.make_system(TASKAPI)]) as targets:
        target: Target = targets[0]
        caller = Caller(target.system, bench.postgres.pid, user, target.token(user))
        try:
            yield caller
        finally:
            caller.close()


def compare(
    bench: Bench,
    caller: Caller,
    ways: dict[str, Callable[[], None]],
    times: int,
    after: Callable[[], None],
) -> None:
    """Run each way in turn and print what it takes for each of so many, with the ratio."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(bench.options.rounds * 4 + 1):
        order = [*ways.items()][:: 1 if turn % 2 else -1]
        for name, run in order:
            measured = caller.time(run)
            if turn:  # the first warms up
                taken[name].append(measured)
            after()
    print()
    print_row("each of 100", "passed, µs", "ratio", "processor, µs", "ratio")
    print_row(*["---"] * 5)
    passed_first, busy_first = (
        [*column] for column in zip(*next(iter(taken.values())), strict=True)
    )
    for name, measured_ones in taken.items():
        passed, busy = ([*column] for column in zip(*measured_ones, strict=True))
        # A processor's clock has ticks of 10 ms: only the sum of all rounds tells something.
        print_row(
            name,
            f"{statistics.median(passed) / times * 1e6:.0f}",
            ratio(passed, passed_first),
            f"{statistics.fmean(busy) / times * 1e6:.0f}",
            f"{sum(busy) / sum(busy_first):.3f}",
        )


def ratio(values: Sequence[float], base: Sequence[float]) -> str:
    """Return the median of the ratios of each round."""
    return f"{statistics.median(v / b for v, b in zip(values, base, strict=True)):.3f}"


def print_row(*cells: Any) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
