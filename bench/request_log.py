"""Measure what a request's line in the log and its figures for Prometheus cost.

Reads of one task go through the WSGI application in this process, without gunicorn, to a database
on this machine; each way in turn, in an order that changes. The lines are written to a file, and
the figures are kept in shared files, as under gunicorn. Processor time of the thread that serves is
what says most on a busy machine; the time that passes has the database's in it.

On two idle cores a read took 189 µs of processor time. A line added 42 µs, 22 %, of which 10 are
left where LOG_LEVEL leaves it out, for the request's id and clock; the figures added 13 µs, 7 %.
"""

from __future__ import annotations

import logging
import random
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from embedded_postgres import EmbeddedPostgres  # noqa: E402
from flask import Flask  # noqa: E402
from werkzeug.test import EnvironBuilder  # noqa: E402

from taskapi import create_app  # noqa: E402
from taskapi.config import load_config  # noqa: E402
from taskapi.database.identity import derive_key  # noqa: E402
from taskapi.migrate.run import apply_migrations  # noqa: E402
from taskapi.operations.metrics import share_with_workers  # noqa: E402

ROUNDS = 3000
LOG, COUNT = "log_request", "count_request"
# What is left out of a request, and from which level on is logged.
WAYS = {
    "neither": ({LOG, COUNT}, logging.INFO),
    "line": ({COUNT}, logging.INFO),
    "line left out": ({COUNT}, logging.WARNING),
    "figures": ({LOG}, logging.INFO),
    "both": (set[str](), logging.INFO),
}


def main() -> None:
    """Print the medians in microseconds, and their ratio to those of a request with neither."""
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
        (Path(folder) / "log").open("w", buffering=1) as log,
    ):
        apply_migrations(server.url, keys=[derive_key("-" * 32)])
        share_with_workers(folder, 0)
        variables = {"DATABASE_URL": server.url, "JWT_SECRET": "-" * 32, "DB_POOL_MIN": "1"}
        with redirect_stderr(log):
            app = create_app(load_config(variables))
        database = app.extensions["taskapi.database"]
        database.open()
        try:
            times = measure(app)
        finally:
            database.close()
    medians = {
        name: [statistics.median(column) * 1e6 for column in zip(*values, strict=True)]
        for name, values in times.items()
    }
    print(f"medians of {ROUNDS}, µs:  processor  ratio   passed  ratio")
    for name, (busy, passed) in medians.items():
        bare_busy, bare_passed = medians["neither"]
        ratios = busy / bare_busy, passed / bare_passed
        print(f"{name:<22} {busy:11.0f} {ratios[0]:6.3f} {passed:8.0f} {ratios[1]:6.3f}")


def measure(app: Flask) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds that each way took in each round: of the processor's, and in all."""
    environ = read_request(app)
    hooks = list(app.after_request_funcs[None])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name in random.sample(list(WAYS), len(WAYS)):
            without, level = WAYS[name]
            app.after_request_funcs[None] = [x for x in hooks if x.__name__ not in without]
            logging.getLogger("taskapi").setLevel(level)
            given = dict(environ)
            busy, started = time.thread_time(), time.perf_counter()
            body = app.wsgi_app(given, answer)
            times[name].append((time.thread_time() - busy, time.perf_counter() - started))
            body.close()  # type: ignore[attr-defined]
    return times


def read_request(app: Flask) -> dict[str, Any]:
    """Return the environ of a GET of a new user's new task."""
    client = app.test_client()
    credentials = {"email": "bench@example.com", "password": "a long password"}
    client.post("/api/auth/signup", json=credentials)
    login = client.post("/api/auth/login", json=credentials).get_json()
    headers = {"Authorization": f"Bearer {login['token']}"}
    path = f"/api/{login['user_id']}/tasks"
    task = client.post(path, json={"title": "t"}, headers=headers).get_json()
    environ: dict[str, Any] = EnvironBuilder(
        f"{path}/{task['id']}", headers=list(headers.items())
    ).get_environ()
    environ["REMOTE_ADDR"] = "192.0.2.1"
    return environ


def answer(status: str, headers: Any, exc_info: Any = None) -> Any:
    """Take an answer, as a server does; it must be the task."""
    assert status == "200 OK", status


if __name__ == "__main__":
    main()
