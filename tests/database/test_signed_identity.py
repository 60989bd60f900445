"""SQL that runs with the service's login can't choose for whom it acts: the service signs that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors

from taskapi.database.identity import TOLERANCE, Signer, derive_key
from taskapi.database.statements import STATEMENTS
from taskapi.migrate.run import apply_migrations
from tests.support.accounts import Account
from tests.support.acting import UNSIGNED, act_as
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.releases import LAST_MIGRATION
from tests.support.roles import as_service
from tests.support.service import ROOT, SECRET, run_command

USERS_TABLES = ["tasks", "clocks", "deleted_tasks", "idempotency_keys", "revocations"]


@pytest.fixture
def attacker(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection with the service's login, which may run any SQL."""
    with psycopg.connect(as_service(database_url), autocommit=True) as conn:
        yield conn


@contextmanager
def pretending(conn: psycopg.Connection, role: str, **settings: str) -> Iterator[None]:
    with conn.transaction(force_rollback=True):
        for name, value in settings.items():
            conn.execute("SELECT set_config(%s, %s, true)", [f"app.{name}", value])
        conn.execute(f"SET LOCAL ROLE {role}".encode())
        yield


def find(conn: psycopg.Connection, query: str) -> list[Any]:
    """Return what SQL finds: nothing, if it gets an error."""
    try:
        with conn.transaction():
            return conn.execute(query.encode()).fetchall()
    except errors.InvalidAuthorizationSpecification:
        return []


def count(conn: psycopg.Connection, table: str) -> int:
    return sum(rows for (rows,) in find(conn, f"SELECT count(*) FROM {table}"))


def signed(role: str, subject: str, **changes: Any) -> dict[str, Any]:
    return {**Signer([derive_key(SECRET)], 5).sign(role, subject), **changes}


def test_another_users_id_shows_and_writes_nothing(
    attacker: psycopg.Connection, user: Account, other_user: Account
) -> None:
    user.create("mine")
    with pretending(attacker, "taskapi_user", user_id=user.id, **signed("taskapi_user", user.id)):
        assert count(attacker, "tasks") == 1
        attacker.execute("SELECT set_config('app.user_id', %s, true)", [other_user.id])
        for table in USERS_TABLES:
            assert count(attacker, table) == 0
        assert find(attacker, "UPDATE tasks SET title = 'taken over' RETURNING id") == []
        assert find(attacker, "DELETE FROM tasks RETURNING id") == []
        with pytest.raises(errors.InvalidAuthorizationSpecification):
            attacker.execute("INSERT INTO tasks (user_id, title) VALUES (%s, 'x')", [other_user.id])
    [task] = other_user.request("GET").json()
    assert task["title"] == "another user's"


@pytest.mark.parametrize("forged", [{}, UNSIGNED, {"signature": "00" * 32, "expires_at": "9e9"}])
def test_without_the_key_no_user_and_no_login_is_there(
    attacker: psycopg.Connection, user: Account, forged: dict[str, str]
) -> None:
    user.create()
    user.client.post("/api/auth/login", json={"email": user.email, "password": "a wrong one"})
    with pretending(attacker, "taskapi_user", user_id=user.id, **forged):
        assert [count(attacker, table) for table in USERS_TABLES] == [0] * len(USERS_TABLES)
    with pretending(attacker, "taskapi_login", email=user.email, user_id=user.id, **forged):
        assert find(attacker, "SELECT password_hash FROM users") == []
        for table, column in (
            ("login_attempts", "key"),
            ("closed_accounts", "user_id"),
            ("feed_epoch", "epoch"),
            ("tasks", "id"),
            ("clocks", "user_id"),
            ("deleted_tasks", "id"),
            ("idempotency_keys", "key"),
            ("revocations", "user_id"),
        ):
            assert find(attacker, f"SELECT {column} FROM {table}") == [], table
        assert find(attacker, "UPDATE users SET password_hash = '!' RETURNING id") == []
        assert find(attacker, "UPDATE feed_epoch SET epoch = epoch RETURNING epoch") == []
        refusals = (errors.InsufficientPrivilege, errors.InvalidAuthorizationSpecification)
        with pytest.raises(refusals):
            attacker.execute("INSERT INTO users (email, password_hash) VALUES ('x@y', '!')")


def test_a_captured_signature_is_for_one_identity_and_a_short_time(
    attacker: psycopg.Connection, user: Account, other_user: Account
) -> None:
    for account in (user, other_user):
        account.create()
    captured = signed("taskapi_user", user.id)
    with pretending(attacker, "taskapi_user", user_id=user.id, **captured):
        assert count(attacker, "tasks") == 1
    with pretending(attacker, "taskapi_user", user_id=other_user.id, **captured):
        assert count(attacker, "tasks") == 0
    for email in (user.id, user.email, other_user.email):
        with pretending(attacker, "taskapi_login", email=email, **captured):
            assert find(attacker, "SELECT password_hash FROM users") == []
    # Neither is a login's for a user, nor for another email.
    login = signed("taskapi_login", user.email)
    with pretending(attacker, "taskapi_login", email=user.email, **login):
        assert len(find(attacker, "SELECT email FROM users")) == 1
        attacker.execute("SELECT set_config('app.user_id', %s, true)", [other_user.id])
        assert find(attacker, "SELECT email FROM users") == [(user.email,)]
    with pretending(attacker, "taskapi_login", email=other_user.email, **login):
        assert find(attacker, "SELECT email FROM users") == []
    with pretending(attacker, "taskapi_user", user_id=user.id, **login):
        assert count(attacker, "tasks") == 0
    # Its time can't be changed, and ends.
    later = {**captured, "expires_at": str(int(captured["expires_at"]) + 3600)}
    old = Signer([derive_key(SECRET)], -TOLERANCE - 1).sign("taskapi_user", user.id)
    for invalid in (later, old):
        with pretending(attacker, "taskapi_user", user_id=user.id, **invalid):
            assert count(attacker, "tasks") == 0


def test_the_keys_are_for_the_owner_only(attacker: psycopg.Connection) -> None:
    for role in ("none", "taskapi_user", "taskapi_login"):
        with (
            pretending(attacker, role),
            pytest.raises(errors.InsufficientPrivilege, match="permission denied"),
        ):
            attacker.execute("SELECT FROM identity_keys")


def test_a_service_with_another_key_says_so(make_service: MakeService, own_url: str) -> None:
    service = make_service(DATABASE_URL=own_url, DB_IDENTITY_KEY="another key of at least 32 bytes")
    service.start(ready=False)
    sentence = "The database refuses this service's signature"
    with service.client() as client:
        user = Account.insert(client, own_url)
        assert_error(client.get("/ready"), 503, sentence)
        assert_error(user.request("GET"), 503, sentence)
        assert_error(user.request("POST", json={"title": "x"}), 503, sentence)
        login = {"email": user.email, "password": "x"}
        assert_error(client.post("/api/auth/login", json=login), 503, sentence)
    assert "not signed with a key of the table identity_keys" in service.log.read_text()


def apply(url: str, *options: str, **variables: str) -> str:
    command = ("-m", "taskapi", "migrate", "apply", *options)
    done = run_command(*command, folder=ROOT, DATABASE_URL=url, **variables)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_key_is_replaced_while_the_service_runs(make_service: MakeService, own_url: str) -> None:
    new = "a new key of the tests with more than 32 bytes"
    apply(own_url, DB_IDENTITY_KEY=new)
    services = [make_service(DATABASE_URL=own_url, **key) for key in ({}, {"DB_IDENTITY_KEY": new})]
    for service in services:
        service.start()
    apply(own_url, "--require-signatures", DB_IDENTITY_KEY=new)
    with services[0].client() as client:
        assert_error(client.get("/ready"), 503)
    with services[1].client() as client:
        assert client.get("/ready").status_code == 200


def test_an_upgrade_accepts_the_release_before_until_it_is_told(empty_database: str) -> None:
    """The release before sets app.user_id without a signature."""
    apply_migrations(empty_database, to=LAST_MIGRATION)
    reports: list[str] = []
    apply_migrations(empty_database, keys=(), report=reports.append)
    assert reports == ["identities are not signed: set DB_IDENTITY_KEY, and apply again"]
    with psycopg.connect(empty_database, autocommit=True) as conn:
        [(user_id,)] = conn.execute(
            "INSERT INTO users (email, password_hash) VALUES ('a@b', '!') RETURNING id::text"
        ).fetchall()
        conn.execute("INSERT INTO tasks (user_id, title) VALUES (%s, 'x')", [user_id])
        for is_required in (None, False, True):
            reports = []
            if is_required is not None:
                apply_migrations(
                    empty_database,
                    keys=[derive_key(SECRET)],
                    require_signatures=is_required,
                    report=reports.append,
                )
            accepts = "unsigned identities are accepted" in "".join(reports)
            assert accepts == (is_required is False)
            seen = 0 if is_required else 1
            with pretending(conn, "taskapi_user", user_id=user_id):
                assert count(conn, "tasks") == seen
            with pretending(conn, "taskapi_login", email="a@b"):
                assert len(find(conn, "SELECT email FROM users")) == seen
            with conn.transaction():
                conn.execute(STATEMENTS["act_as"], act_as("taskapi_user", user_id=user_id))
                assert count(conn, "tasks") == 1


def test_the_database_is_not_told_the_secret(database: psycopg.Connection) -> None:
    pads = database.execute("SELECT inner_pad FROM identity_keys").fetchall()
    assert pads
    for (inner_pad,) in pads:
        assert SECRET.encode() not in bytes(byte ^ 0x36 for byte in inner_pad)
