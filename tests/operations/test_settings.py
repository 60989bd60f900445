"""What the operator sets, seen from outside."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import wait_until


def test_a_token_is_good_for_as_long_as_is_set(
    make_service: MakeService, database_url: str
) -> None:
    service = make_service(DATABASE_URL=database_url, JWT_EXPIRES_SECONDS="2")
    service.start()
    with service.client() as client:
        user = Account.sign_up(client)
        credentials = {"email": user.email, "password": "wrong"}
        assert_error(client.post("/api/auth/login", json=credentials), 401)
        wait_until("the token to expire", lambda: user.request("GET").status_code == 401)
        assert_error(user.request("GET"), 401, "Token expired")


def test_workers_connections_and_log_are_as_set(make_service: MakeService, own_url: str) -> None:
    service = make_service(
        DATABASE_URL=own_url,
        WEB_CONCURRENCY="3",
        DB_POOL_MIN="4",
        DB_POOL_MAX="4",
        LOG_LEVEL="warning",
    )
    service.start()
    with psycopg.connect(own_url, autocommit=True) as dba, service.client() as client:
        query = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'taskapi' AND datname = current_database()"
        )
        wait_until("12 connections", lambda: len(dba.execute(query).fetchall()) == 12)
        Account.insert(client, dba).create()
        assert len(dba.execute(query).fetchall()) == 12
    assert service.log.read_text() == ""
    service.stop()
    with psycopg.connect(own_url, autocommit=True) as dba:
        wait_until("all connections to end", lambda: dba.execute(query).fetchall() == [])


@pytest.mark.slow
def test_a_connection_past_its_lifetime_is_replaced(
    make_service: MakeService, own_url: str
) -> None:
    service = make_service(
        DATABASE_URL=own_url,
        WEB_CONCURRENCY="1",
        DB_POOL_MIN="1",
        DB_POOL_MAX="1",
        DB_POOL_MAX_LIFETIME="0.5",
    )
    service.start()
    with psycopg.connect(own_url, autocommit=True) as dba, service.client() as client:
        user = Account.sign_up(client)
        query = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'taskapi' AND datname = current_database()"
        )
        first = dba.execute(query).fetchall()

        def replaced() -> bool:
            assert user.request("GET").status_code == 200
            return dba.execute(query).fetchall() not in ([], first)

        wait_until("another connection", replaced)


def test_each_session_is_in_utc_and_has_its_name_and_limit(
    make_service: MakeService, own_url: str
) -> None:
    """Whatever the database or the role would have it be."""
    with psycopg.connect(own_url, autocommit=True) as dba:
        name = dba.info.dbname
        dba.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
        dba.execute(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'")
    service = make_service(DATABASE_URL=own_url)
    service.start()
    with service.client() as client:
        user = Account.insert(client, own_url)
        task = user.create()
        assert user.request("GET", f"/{task['id']}").json() == task
        with psycopg.connect(own_url, options="-c TimeZone=UTC -c DateStyle=ISO") as dba:
            row = dba.execute("SELECT created_at::text FROM tasks").fetchone()
            assert row is not None
            assert task["created_at"].startswith(row[0][:19].replace(" ", "T"))
