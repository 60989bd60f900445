"""The progress of a migration, from the server's statistics on a second connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from taskapi.database.statements import MIGRATION_STATEMENTS

Report = Callable[[str], None]

# Often enough to see what blocked a statement that gave up after its lock_timeout.
_POLL_SECONDS = 0.2
_SLOW_SECONDS = 1.0


class Watcher:
    """Reports each statement of a migration that runs longer than a second.

    It reports again each time the duration has doubled, and when other sessions block it.
    """

    def __init__(self, conninfo: dict[str, Any], report: Report) -> None:
        # The sessions that last blocked a statement. The caller empties it before each migration.
        self.blockers: list[str] = []
        self._conninfo = conninfo
        self._report = report
        self._ended = threading.Event()
        self._next: dict[Any, float] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch in a thread of its own while the block runs."""
        thread = threading.Thread(target=self._run, name="migration-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        # A migration goes on without its progress being shown.
        try:
            with psycopg.connect(
                **self._conninfo, autocommit=True, row_factory=namedtuple_row
            ) as conn:
                while not self._ended.wait(_POLL_SECONDS):
                    self._look(conn)
        except psycopg.Error as error:
            self._report(f"progress is not shown: {' '.join(str(error).split())}")

    def _look(self, conn: psycopg.Connection[Any]) -> None:
        # While this process has the lock, only its own sessions use this name.
        name = {"application_name": self._conninfo["application_name"]}
        for session in conn.execute(MIGRATION_STATEMENTS["watch_sessions"], name).fetchall():
            if session.blockers:
                self.blockers = session.blockers
            key = (session.pid, session.query_start, tuple(session.blockers))
            if session.seconds >= self._next.get(key, _SLOW_SECONDS):
                self._next[key] = session.seconds * 2
                self._report(_describe(session))


def _describe(session: Any) -> str:
    line = f"running {session.seconds:.0f} s: {shorten(session.query)}"
    if session.phase:
        line += f"; {session.phase}"
        if session.blocks_total:
            line += f", {100 * session.blocks_done // session.blocks_total} %"
    if session.blockers:
        line += f"; waiting for {', '.join(session.blockers)}"
    return line


def shorten(statement: str) -> str:
    """Return the statement in one line of at most 80 characters, without its comments."""
    code = " ".join(line.partition("--")[0] for line in statement.splitlines())
    line = " ".join(code.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
