"""Applying and rolling back migrations with yoyo, safely on a live database."""

from __future__ import annotations

import getpass
import glob
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import namedtuple_row
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table

from taskapi.database.identity import pads_of
from taskapi.database.statements import MIGRATION_STATEMENTS, MIGRATIONS_DIR
from taskapi.migrate.files import (
    MigrationError,
    checksum,
    find_losses,
    number_of,
    read_ids,
    rollback_statements,
)
from taskapi.migrate.progress import Report, Watcher

# Seconds that a statement waits for a lock before it gives up. Requests that need the table wait
# behind it for as long, so DB_STATEMENT_TIMEOUT must be longer. Longer than PostgreSQL's
# deadlock_timeout, a second by default, after which it ends an autovacuum that has the lock.
LOCK_TIMEOUT = 1.5
# How often a migration that gets no lock is tried. Ten tries take about three minutes.
TRIES = 10
_LONGEST_PAUSE = 30.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class State:
    """One migration, as this release and the database know it."""

    id: str
    released: bool
    applied_at: datetime | None = None
    applied_by: str | None = None
    changed: bool = False


@dataclass(frozen=True)
class RollbackStep:
    """What rolling back one migration runs, and the data that is lost with it."""

    id: str
    statements: list[str]
    losses: list[str]


@dataclass(frozen=True)
class _Session:
    """What a command works with while it holds the lock."""

    backend: Any
    lock: psycopg.Connection[Any]
    watcher: Watcher
    report: Report
    lock_timeout: float
    tries: int


def silent(_line: str) -> None:
    """Report nothing."""


def list_migrations(database_url: str, *, folder: Path = MIGRATIONS_DIR) -> list[State]:
    """Return every migration that this release or the database knows, in order.

    Changes nothing and waits for no lock. Raises MigrationError.
    """
    with _one_line_errors(), _connect(_conninfo(database_url, LOCK_TIMEOUT)) as conn:
        return _read_states(conn, folder)


def find_pending(
    database_url: str, *, to: int | None = None, folder: Path = MIGRATIONS_DIR
) -> list[str]:
    """Return the ids that `apply_migrations` would apply now. Raises MigrationError."""
    return _pending(list_migrations(database_url, folder=folder), to)


def apply_migrations(
    database_url: str,
    *,
    to: int | None = None,
    folder: Path = MIGRATIONS_DIR,
    lock_timeout: float = LOCK_TIMEOUT,
    tries: int = TRIES,
    report: Report = silent,
    keys: Sequence[bytes] | None = None,
    require_signatures: bool = False,
) -> list[str]:
    """Apply the pending migrations up to number `to`, and return their ids.

    Several processes may run this at once, and it may be run again after a process was killed. A
    statement that gets no lock within `lock_timeout` seconds gives up, and its migration is tried
    again. With `keys`, identities may be signed with these from then on. They must be if the
    database is new, or with `require_signatures`, which deletes all other keys. Raises
    MigrationError.
    """
    with _session(database_url, lock_timeout, tries, report) as session:
        session.lock.execute(MIGRATION_STATEMENTS["create_checksums"])
        states = _read_states(session.lock, folder)
        pending = _pending(states, to)
        # A migration that was applied before checksums were recorded gets today's checksum.
        known = {row.migration_id for row in _query(session.lock, "list_checksums")}
        for state in states:
            if state.released and state.applied_at and state.id not in known:
                _record_checksum(session.lock, state.id, folder)
        for migration in _migrations(folder):
            if migration.id in pending:
                _record_checksum(session.lock, migration.id, folder)
                _run(session, session.backend.apply_one, migration)
        is_new = not any(state.applied_at for state in states)
        if keys is not None:
            _add_keys(session, keys, is_new=is_new, only=require_signatures)
        return pending


def _add_keys(session: _Session, keys: Sequence[bytes], *, is_new: bool, only: bool) -> None:
    """Let identities be signed with these keys. `only`: and be neither unsigned nor by others."""
    pads = [pads_of(key) for key in keys]
    for found in _query(session.lock, "check_identity_keys"):
        is_required = found.are_required or is_new or only
        for inner, outer in pads:
            key = {"inner_pad": inner, "outer_pad": outer, "is_required": is_required}
            _query(session.lock, "add_identity_key", **key)
        if only:
            _query(session.lock, "delete_identity_keys", inner_pads=[pad.inner for pad in pads])
        if not (found.keys or pads):
            session.report("identities are not signed: set DB_IDENTITY_KEY, and apply again")
        elif not is_required:
            session.report(
                "unsigned identities are accepted: when no release before 1.1 serves any more, "
                "apply with --require-signatures"
            )


def rollback_migrations(
    database_url: str,
    count: int | None = 1,
    *,
    to: int | None = None,
    folder: Path = MIGRATIONS_DIR,
    lock_timeout: float = LOCK_TIMEOUT,
    tries: int = TRIES,
    report: Report = silent,
    confirm: Callable[[list[RollbackStep]], None] = lambda plan: None,
) -> list[str]:
    """Roll back the last `count` migrations, None for all, or all after number `to`.

    `confirm` gets the steps before anything is done, and raises to prevent it. Returns the ids.
    Raises MigrationError.
    """
    with _session(database_url, lock_timeout, tries, report) as session:
        applied = [state for state in _read_states(session.lock, folder) if state.applied_at]
        if to is not None:
            undone = [state for state in applied if number_of(state.id) > to]
        else:
            undone = applied if count is None else applied[len(applied) - count :]
        for state in undone:
            if not state.released:
                raise MigrationError(
                    f"{state.id} is applied and unknown to this release: "
                    "roll it back with the release that has it"
                )
        ids = [state.id for state in reversed(undone)]
        plan = [_plan_rollback(session.lock, id, folder) for id in ids]
        if plan:
            confirm(plan)
        migrations = {migration.id: migration for migration in _migrations(folder)}
        for id in ids:
            _run(session, session.backend.rollback_one, migrations[id])
        return ids


def _read_states(conn: psycopg.Connection[Any], folder: Path) -> list[State]:
    released = read_ids(folder)
    applied = {row.migration_id: row for row in _query(conn, "list_applied")}
    checksums = {row.migration_id: row.sha256 for row in _query(conn, "list_checksums")}
    states = []
    for id in sorted({*released, *applied}):
        if id not in applied:
            states.append(State(id, released=True))
            continue
        states.append(
            State(
                id,
                released=id in released,
                applied_at=applied[id].applied_at_utc,
                applied_by=f"{applied[id].username}@{applied[id].hostname}",
                changed=id in released
                and id in checksums
                and checksums[id] != checksum(id, folder),
            )
        )
    return states


def _pending(states: list[State], to: int | None) -> list[str]:
    """Return the ids to apply. Raises MigrationError if the files contradict the database."""
    for state in states:
        if state.changed:
            raise MigrationError(
                f"{state.id}.sql was changed after it was applied: put the applied file back and "
                "make the change a new migration, or roll it back first if no other database has it"
            )
    last = max((state.id for state in states if state.applied_at), default="")
    pending = [state.id for state in states if not state.applied_at]
    for id in pending:
        if id < last:
            raise MigrationError(
                f"{id} sorts before {last}, which is applied: give it a number after that one"
            )
    return [id for id in pending if to is None or number_of(id) <= to]


def _plan_rollback(conn: psycopg.Connection[Any], id: str, folder: Path) -> RollbackStep:
    statements = rollback_statements(id, folder)
    losses = []
    for table, column in [loss for code in statements for loss in find_losses(code)]:
        for found in _query(conn, "describe_table", table_name=table):
            rows = f"about {found.estimated_rows:,} rows"
            losses.append(
                f"column {column} of table {table}, which has {rows}"
                if column
                else f"table {table}: {rows}, {found.size}"
            )
    return RollbackStep(id, statements, losses)


def _run(session: _Session, do: Callable[[Any], None], migration: Any) -> None:
    """Run a migration, and try again while it gets no lock, with longer and longer pauses."""
    id = migration.id
    pause = session.lock_timeout
    for attempt in range(1, session.tries + 1):
        session.watcher.blockers = []
        try:
            do(migration)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            blockers = ", ".join(session.watcher.blockers) or "a session that has ended"
            if attempt == session.tries:
                raise MigrationError(
                    f"{id}: no lock after {session.tries} tries, the last time because of "
                    f"{blockers}: end it or run this again later"
                ) from error
        except psycopg.Error as error:
            raise MigrationError(f"{id}: {_one_line(error)}") from error
        session.report(f"{id}: no lock because of {blockers}; trying again in {pause:g} s")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _record_checksum(conn: psycopg.Connection[Any], id: str, folder: Path) -> None:
    params = {"migration_id": id, "sha256": checksum(id, folder)}
    conn.execute(MIGRATION_STATEMENTS["record_checksum"], params)


def _query(conn: psycopg.Connection[Any], name: str, **params: Any) -> list[Any]:
    """Return the statement's rows, or none if its table does not exist yet."""
    try:
        return conn.execute(MIGRATION_STATEMENTS[name], params or None).fetchall()
    except errors.UndefinedTable:
        return []


def _migrations(folder: Path) -> Any:
    return read_migrations(glob.escape(str(folder)))


@contextmanager
def _session(
    database_url: str, lock_timeout: float, tries: int, report: Report
) -> Iterator[_Session]:
    """Lend yoyo's backend while no other process migrates this database.

    yoyo's own lock is a row, which a killed process leaves behind. The advisory lock ends with the
    last session that has it, so the process that gets it can remove such a row.
    """
    _ensure_user_name()
    conninfo = _conninfo(database_url, lock_timeout)
    with _connect(conninfo) as lock:
        _check_rights(lock)
        _take_lock(lock, report)
        watcher = Watcher(conninfo, report)
        with _one_line_errors(), _backend(conninfo, report) as backend:
            backend.init_database()
            backend.break_lock()
            backend.ensure_internal_schema_updated()
            with backend.lock(), watcher.watching():
                yield _Session(backend, lock, watcher, report, lock_timeout, tries)


def _take_lock(conn: psycopg.Connection[Any], report: Report) -> None:
    waiting = False
    while not _query(conn, "try_lock")[0].has_lock:
        for holder in [] if waiting else _query(conn, "find_lock_holder"):
            report(f"waiting for {_describe_holder(holder)}")
            waiting = True
        time.sleep(_POLL_SECONDS)
    conn.execute(MIGRATION_STATEMENTS["share_lock"])
    conn.execute(MIGRATION_STATEMENTS["release_lock"])


def _describe_holder(holder: Any) -> str:
    if holder.backend_start is None:  # of another role, which only pg_read_all_stats shows
        return f"pid {holder.pid} ({holder.role_name}), which is migrating"
    since = f"{holder.backend_start:%Y-%m-%d %H:%M:%S %Z}"
    where = holder.client_addr or "local"
    return f"pid {holder.pid} ({holder.role_name}, {where}), which has been migrating since {since}"


def _conninfo(database_url: str, lock_timeout: float) -> dict[str, Any]:
    """Return the connection parameters of a migration's sessions."""
    given = conninfo_to_dict(database_url)
    # One session is idle while another works, however long that takes.
    ours = f"-c lock_timeout={round(lock_timeout * 1000)} -c idle_session_timeout=0"
    return {
        "connect_timeout": 10,
        **given,
        "application_name": "taskapi migrate",
        "options": f"{given.get('options') or ''} {ours}".strip(),
    }


def _connect(conninfo: dict[str, Any]) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(**conninfo, autocommit=True, row_factory=namedtuple_row)
    except psycopg.OperationalError as error:
        raise MigrationError(
            f"the database can't be reached: check DATABASE_URL and the server ({_one_line(error)})"
        ) from error


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # it is untyped
    """yoyo's backend. It connects once for its marks, and once for each migration."""

    def __init__(self, uri: Any, migration_table: str, report: Report = silent) -> None:
        super().__init__(uri, migration_table)
        self._report = report

    def connect(self, dburi: Any) -> Any:
        """Connect a session whose statement ends or keeps the lock if this process is killed."""
        conn = super().connect(dburi)
        with suppress(errors.InvalidParameterValue):
            conn.execute(MIGRATION_STATEMENTS["check_client"])
        conn.execute(MIGRATION_STATEMENTS["share_lock"])
        return conn

    def copy(self) -> Any:
        """Connect once more, for a migration, and report what it says with RAISE INFO."""
        backend = super().copy()
        backend.connection.add_notice_handler(self._pass_on)
        return backend

    def _pass_on(self, notice: errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "INFO":
            self._report(notice.message_primary or "")


def _backend(conninfo: dict[str, Any], report: Report) -> Any:
    """Connect yoyo. It can't parse every libpq URI, so it gets the parameters that libpq parsed."""
    uri = DatabaseURI(
        scheme="postgresql+psycopg",
        username=None,
        password=None,
        hostname=None,
        port=None,
        database=None,
        args=conninfo,
    )
    return _Backend(uri, default_migration_table, report)


def _check_rights(conn: psycopg.Connection[Any]) -> None:
    """Check what yoyo would otherwise report as a problem with its lock, ten seconds later."""
    (rights,) = conn.execute(MIGRATION_STATEMENTS["check_rights"])
    if rights.is_standby:
        raise MigrationError("the server is a standby: name the primary in DATABASE_URL")
    if not rights.is_utf8:
        raise MigrationError("the database's encoding is not UTF8: create it with ENCODING 'UTF8'")
    if not rights.may_create:
        raise MigrationError(
            f"role {rights.role_name} may not create tables in schema {rights.schema_name}: "
            "grant it CREATE on the schema, or name the schema's owner in DATABASE_URL"
        )


def _ensure_user_name() -> None:
    """Set USER for yoyo's log if the process's uid has no name, as in a container."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise MigrationError(_one_line(error)) from error


def _one_line(error: psycopg.Error) -> str:
    parts = (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
    return " ".join((" ".join(filter(None, parts)) or str(error)).split())
