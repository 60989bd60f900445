"""Measure where the processor time of reading one task goes, and what two short cuts save.

Reads go through the WSGI application in this process, without gunicorn, to a database on this
machine. All times are of the processor, of the thread that serves: what the database does isn't in
them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "bench")]

import psycopg  # noqa: E402
from embedded_postgres import EmbeddedPostgres  # noqa: E402
from flask import Flask  # noqa: E402
from psycopg.rows import dict_row  # noqa: E402
from request_log import answer, read_request  # noqa: E402

from taskapi import config, create_app  # noqa: E402
from taskapi.accounts import tokens  # noqa: E402
from taskapi.config import load_config  # noqa: E402
from taskapi.database.connection import Connection, connection_settings  # noqa: E402
from taskapi.database.identity import Signer, derive_key  # noqa: E402
from taskapi.database.pool import ACT_AS, QUERIES  # noqa: E402
from taskapi.database.statements import STATEMENTS  # noqa: E402
from taskapi.migrate.run import apply_migrations  # noqa: E402
from taskapi.operations.metrics import share_with_workers  # noqa: E402
from taskapi.tasks import queries, routes  # noqa: E402

ROUNDS = 3000
SECRET = "-" * 32


class Parts:
    """The seconds that each part of a request took, of the one that is being served."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, with its time counted as the part's."""

        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = time.thread_time() - started

        return call


def main() -> None:
    """Print the medians in microseconds."""
    with (
        tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
        (Path(folder) / "log").open("w", buffering=1) as log,
    ):
        apply_migrations(server.url, keys=[derive_key(SECRET)])
        share_with_workers(folder, 0)
        settings = load_config({"DATABASE_URL": server.url, "JWT_SECRET": SECRET})
        with redirect_stderr(log):
            app = create_app(settings)
        with closing(app.extensions["taskapi.database"]) as database:
            database.open()
            environ = read_request(app)
            print(f"A read of one task, medians of {ROUNDS}, µs of processor time")
            tell(measure_parts(app, environ))
        print("\nThe same with and without a short cut")
        tell(measure_round_trips(server.url, environ))
        with app.app_context():
            tell(measure_tokens(environ["HTTP_AUTHORIZATION"].removeprefix("Bearer ")))


def tell(times: dict[str, list[float]]) -> None:
    """Print a line for each."""
    for name, seconds in times.items():
        print(f"{name:<60} {statistics.median(seconds) * 1e6:6.0f}")


def measure_parts(app: Flask, environ: dict[str, Any]) -> dict[str, list[float]]:
    """Return the times of a request's parts, what is left of it for Flask, and all of it."""
    parts = Parts()
    hooks = {function.__name__: function for function in app.after_request_funcs[None]}
    app.after_request_funcs[None] = [
        parts.timed("its line in the log", hooks.pop("log_request")),
        parts.timed("its figures for Prometheus", hooks.pop("count_request")),
        *hooks.values(),
    ]
    [authorize] = app.before_request_funcs["tasks"]
    app.before_request_funcs["tasks"] = [parts.timed("token and path", authorize)]
    queries.get_task = parts.timed("the query", queries.get_task)
    routes.tagged = parts.timed("JSON and entity tag", routes.tagged)
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        given = dict(environ)
        started = time.thread_time()
        body = app.wsgi_app(given, answer)
        whole = time.thread_time() - started
        body.close()  # type: ignore[attr-defined]
        rest = whole - sum(parts.seconds.values())
        for name, seconds in {**parts.seconds, "Flask and the rest": rest, "all": whole}.items():
            times.setdefault(name, []).append(seconds)
    return times


def measure_round_trips(url: str, environ: dict[str, Any]) -> dict[str, list[float]]:
    """Return the times of the same two statements by psycopg's cursors, and as the service does."""
    *_, user_id, _, id = environ["PATH_INFO"].split("/")
    acting = {
        "role": "taskapi_user",
        "user_id": user_id,
        "issued_at": 0.0,
        "email": "",
        "statement_timeout": "5s",
        "max_tasks": "100000",
        **Signer([derive_key(SECRET)], 5).sign("taskapi_user", user_id),
    }
    wanted = {"user_id": user_id, "id": id}
    given = connection_settings(load_config({"DATABASE_URL": url, "JWT_SECRET": SECRET}))
    with (
        psycopg.connect(url, **given, row_factory=dict_row) as theirs,
        Connection.connect(url, **given) as ours,
    ):

        def by_cursors() -> Any:
            act, result = theirs.cursor(), theirs.cursor()
            with theirs.pipeline():
                act.execute(STATEMENTS["act_as"], acting)
                result.execute(STATEMENTS["get_task"], wanted)
            return result.fetchall()

        def directly() -> Any:
            _, result = ours.exchange((ACT_AS, acting), (QUERIES["get_task"], wanted), timeout=60)
            return ours.load_rows(result)

        assert by_cursors() == directly() != []
        return measure(
            {"two statements by psycopg's cursors": by_cursors, "... by exchange()": directly}
        )


def measure_tokens(token: str) -> dict[str, list[float]]:
    """Return the times of verifying a token, and of one that was verified before."""
    settings = config.current()
    verify = tokens._verify_ours.__wrapped__
    expected = tokens.ExpectedClaims(None, None)
    return measure(
        {
            "a token verified": lambda: verify(token, settings.jwt_secrets, expected),
            "... remembered": lambda: tokens.verify_token(token),
        }
    )


def measure(ways: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the times of each, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            started = time.thread_time()
            run()
            times[name].append(time.thread_time() - started)
    return times


if __name__ == "__main__":
    main()
