"""The frame of a distributed database, on one server that says it is distributed."""

from __future__ import annotations

import psycopg

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService

# As deploy/citus/distribute.sql has it; without a transaction block, a SET LOCAL ends at once. A
# sequence counts calls also of transactions that are rolled back.
DISTRIBUTED = """
CREATE SEQUENCE calls;
GRANT USAGE ON calls TO public;
CREATE FUNCTION share_settings() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('calls');
    IF current_user NOT IN ('taskapi_user', 'taskapi_login', 'taskapi') THEN
        RAISE EXCEPTION 'act_as was not before';
    END IF;
END;
$$;
"""


def test_a_block_ends_with_its_request(make_service: MakeService, own_url: str) -> None:
    """Also after a statement that failed: the one connection serves the next request."""
    with psycopg.connect(own_url, autocommit=True) as dba:
        dba.execute(DISTRIBUTED)
        one = {"WEB_CONCURRENCY": "1", "DB_POOL_MIN": "1", "DB_POOL_MAX": "1"}
        service = make_service(DATABASE_URL=own_url, MAX_TASKS="2", **one)
        service.start()
        with service.client() as client:
            user = Account.insert(client, dba)
            for _ in range(2):  # prepared the first time
                tasks = [user.create("first"), user.create("second")]
                assert_error(user.request("POST", json={"title": "third"}), 403)
                assert user.request("GET").json() == tasks[::-1]
                for task in tasks:
                    assert user.request("DELETE", f"/{task['id']}").status_code == 204
            dba.execute("DELETE FROM users WHERE id = %s", [user.id])
            assert_error(user.request("POST", json={"title": "revoked"}), 401)
            assert Account.sign_up(client).create()
        left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        row = dba.execute(f"{left} AND state ~ 'in transaction'".encode()).fetchone()
        assert row == (0,)
        row = dba.execute("SELECT last_value >= 15 FROM calls").fetchone()
        assert row == (True,)
