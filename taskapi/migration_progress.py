"""What a migration is doing, read from the server's statistics on a second connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from taskapi.sql_files import MIGRATION_STATEMENTS

Report = Callable[[str], None]

# Often enough to see who was in the way of a statement that gave up after its lock_timeout.
_POLL_SECONDS = 0.2
_SLOW_SECONDS = 1.0


class Watcher:
    """Reports each statement of the migration that runs longer than a second.

    Again whenever it has run twice as long, and whenever other sessions are in its way.
    """

    def __init__(self, conninfo: dict[str, Any], report: Report) -> None:
        # Who was seen in the way last; the migration's thread empties it before a statement.
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
        # A migration doesn't fail for want of somebody who watches it.
        try:
            with psycopg.connect(
                **self._conninfo, autocommit=True, row_factory=namedtuple_row
            ) as conn:
                while not self._ended.wait(_POLL_SECONDS):
                    self._look(conn)
        except psycopg.Error as error:
            self._report(f"progress is not shown: {' '.join(str(error).split())}")

    def _look(self, conn: psycopg.Connection[Any]) -> None:
        # Under the lock only this process's sessions run anything of that name.
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
        line += f"; waits for {', '.join(session.blockers)}"
    return line


def shorten(statement: str) -> str:
    """Return the statement in one line of at most 80 characters, without its comments."""
    code = " ".join(line.partition("--")[0] for line in statement.splitlines())
    line = " ".join(code.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
