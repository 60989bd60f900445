"""What others notice while an account with very many tasks is closed and purged.

Ten users read, write and log in: for a while alone, then while the account's owner closes it, and
while `python -m taskapi purge` deletes the tasks, which is killed once on the way. Prints how long
each took and the users' p95 with and without it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from embedded_postgres import EmbeddedPostgres  # noqa: E402

from tests.faults.hostile import Crowd, Sample, directly  # noqa: E402
from tests.support.accounts import PASSWORD, Account  # noqa: E402
from tests.support.service import SECRET, Service, environment, migrate, wait_until  # noqa: E402

FILL = """
INSERT INTO tasks (user_id, title, description)
SELECT %s, 'task ' || number, repeat('x', 100) FROM generate_series(1, %s) AS number
"""
# The purge deletes in the order of the ids.
TENTH = "SELECT id FROM tasks WHERE user_id = %s ORDER BY id OFFSET %s LIMIT 1"
IS_THERE = "SELECT FROM tasks WHERE user_id = %s AND id = %s"
LEFT = "SELECT count(*) FROM tasks WHERE user_id = %s"
ACCOUNT = "/api/auth/account"


def p95(samples: Sequence[Sample]) -> float:
    """Return the 95th percentile in milliseconds."""
    return statistics.quantiles([sample.seconds for sample in samples], n=20)[18] * 1000


def describe(what: str, seconds: float, samples: Sequence[Sample], quiet: float) -> str:
    """Return a row of the table."""
    failed = sum(sample.failed for sample in samples)
    slow = p95(samples)
    return (
        f"| {what} | {seconds:.1f} s | {len(samples):,} | {failed} | {slow:.0f} ms"
        f" | {slow / quiet:.2f} |"
    )


def start_purge(url: str) -> subprocess.Popen[bytes]:
    """Start the operator's command."""
    return subprocess.Popen(
        [sys.executable, "-m", "taskapi", "purge"],
        cwd=ROOT,
        env=environment(DATABASE_URL=url, JWT_SECRET=SECRET),
    )


def measure(service: Service, url: str, tasks: int, seconds: float) -> list[str]:
    """Return the rows of the table."""
    with service.client() as client, psycopg.connect(url, autocommit=True) as database:
        owner = Account.insert(client, database)
        database.execute(FILL, [owner.id, tasks])
        database.execute("VACUUM ANALYZE tasks")
        crowd = Crowd(directly(service), database)

        [(tenth,)] = database.execute(TENTH, [owner.id, tasks // 10]).fetchall()

        def is_there() -> bool:
            return bool(database.execute(IS_THERE, [owner.id, tenth]).fetchall())

        with crowd.at_work():
            time.sleep(2)
            began = time.monotonic()
            time.sleep(seconds)
            alone = crowd.since(began)
            quiet = p95(alone)
            table = [describe("nobody closes an account", seconds, alone, quiet)]
            began = time.monotonic()
            body = {"password": PASSWORD}
            closed = client.request("DELETE", ACCOUNT, json=body, headers=owner.headers)
            took = time.monotonic() - began
            assert closed.status_code == 204, closed.text
            assert client.get(owner.tasks, headers=owner.headers).status_code == 401
            print(f"DELETE {ACCOUNT} took {took * 1000:.0f} ms")
            began = time.monotonic()
            purge = start_purge(url)
            wait_until("a tenth to be deleted", lambda: not is_there())
            purge.kill()
            purge.wait()
            [(left,)] = database.execute(LEFT, [owner.id]).fetchall()
            assert 0 < left < tasks
            assert start_purge(url).wait() == 0
            took = time.monotonic() - began
            assert database.execute(LEFT, [owner.id]).fetchall() == [(0,)]
            table.append(describe(f"{tasks:,} tasks are purged", took, crowd.since(began), quiet))
    return table


def main() -> None:
    """Start a PostgreSQL and a gunicorn, fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=30, help="how long to measure without")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as postgres,
    ):
        migrate(postgres.url)
        variables = {"DATABASE_URL": postgres.url, "TRUSTED_PROXIES": "1"}
        service = Service(Path(folder) / "gunicorn.log", variables)
        service.start()
        rows = measure(service, postgres.url, options.tasks, options.seconds)
        service.stop()
    print("| while | for | requests | failed | p95 | of that without |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
