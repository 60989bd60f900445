"""A service that forgets whose rows a statement is for, to see that the database doesn't."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import psycopg

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.service import ROOT, Service

# The statements on a user's tasks.
FOR_A_USER = {path.stem: path.read_text() for path in (ROOT / "sql" / "tasks").glob("*.sql")}


def forget_the_user(statement: str) -> str:
    """Return the statement without its predicate on user_id; an INSERT has none."""
    forgotten = re.sub(r"(\w+\.)?user_id = %\(user_id\)s", "true", statement)
    return forgotten.replace("advance_clock(%(user_id)s::uuid)", "now()")


def copy_carelessly(folder: Path) -> Path:
    """Return a copy of the project whose statements name no user.

    Its INSERT writes the task of whomever the client names in `description`.
    """
    for name in ("taskapi", "sql", "migrations"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, folder)
    for name, text in FOR_A_USER.items():
        careless = forget_the_user(text)
        if "INSERT INTO tasks" in text and name != "write_batch":
            careless = careless.replace(
                "%(user_id)s::uuid", "(%(members)s::jsonb ->> 'description')::uuid"
            )
        assert careless != text, f"{name} names its user in a way that this test doesn't know"
        assert name == "write_batch" or "%(user_id)s" not in careless
        [path] = (folder / "sql").rglob(f"{name}.sql")
        path.write_text(careless)
    return folder


# One connection for all, so that each request gets the one that served another user just before;
# nothing is measured there, for the copy is gone when the coverage is reported.
ONE_CONNECTION = {
    "WEB_CONCURRENCY": "1",
    "DB_POOL_MIN": "1",
    "DB_POOL_MAX": "1",
    "DB_STATEMENT_TIMEOUT": "1",
    "DB_POOL_TIMEOUT": "30",
    "COVERAGE_PROCESS_START": "",
    "COVERAGE_PROCESS_CONFIG": "",
}


def assert_users_are_kept_apart(service: Service, dba: psycopg.Connection) -> None:
    """Let a user do all that a careless service allows, and see another's tasks untouched."""
    with service.client() as client:
        ann, bob = Account.insert(client, dba), Account.insert(client, dba)
        anns = [ann.create(f"ann's {n}", description=ann.id) for n in range(3)][::-1]
        bobs = [bob.create(f"bob's {n}", description=bob.id) for n in range(3)][::-1]

        def each_sees_their_own() -> None:
            for _ in range(2):
                assert bob.request("GET").json() == bobs
                assert ann.request("GET").json() == anns

        each_sees_their_own()
        for _ in range(8):  # from the second time on the statements are prepared already
            for task in bobs:
                path = f"/{task['id']}"
                assert bob.request("GET", path).json() == task
                assert_error(ann.request("GET", path), 404)
                assert_error(ann.request("PUT", path, json={"title": "ann's now"}), 404)
                assert_error(ann.request("PATCH", f"{path}/complete"), 404)
                assert_error(ann.request("DELETE", path), 404)
        each_sees_their_own()

        # After an error
        assert_error(ann.request("POST", json={"title": "for bob", "description": bob.id}), 500)
        each_sees_their_own()

        # After a statement that ran past its limit
        with dba.transaction(force_rollback=True):
            dba.execute("SELECT advance_clock(%s)", [bob.id])
            assert_error(bob.request("DELETE", f"/{bobs[0]['id']}"), 503)
            each_sees_their_own()
    # The policy's refusal of the row that was meant for another
    assert "InsufficientPrivilege 42501" in service.log.read_text()
