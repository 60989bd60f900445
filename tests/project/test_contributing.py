"""The recipes of CONTRIBUTING.md, followed on a copy of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.project_copy import (
    UNMEASURED,
    check_copy,
    copy_project,
    follow_recipe,
    migrate_copy,
)
from tests.support.service import Service


def serve_copy(folder: Path, url: str, make_service: MakeService) -> Service:
    migrate_copy(folder, url)
    service = make_service(DATABASE_URL=url, **UNMEASURED)
    service.root = folder
    service.start()
    return service


def test_a_new_column_breaks_no_client(
    make_service: MakeService, own_url: str, tmp_path: Path
) -> None:
    """Nor the release before, which goes on serving: old ETags and keys are good in the new one."""
    before = make_service(DATABASE_URL=own_url)
    before.start()
    with before.client() as client:
        user = Account.sign_up(client)
        key = {"Idempotency-Key": "across-the-release"}
        first = user.request("POST", json={"title": "before"}, headers=key)
        assert first.status_code == 201
        path, tag = f"/{first.json()['id']}", first.headers["ETag"]
        listed = user.request("GET")

        copy = copy_project(tmp_path / "copy")
        touched = follow_recipe(copy, "Add a column to tasks")
        places = {name if name.startswith("taskapi") else Path(name).parts[0] for name in touched}
        assert places == {
            "migrations",
            "taskapi/tasks/schemas.py",
            "sql",
            "taskapi/openapi/openapi.yaml",
        }
        after = serve_copy(copy, own_url, make_service)
        with after.client() as new_client:
            now = Account(new_client, user.id, user.email, user.token)
            # The tag says what is shown: the client gets the new member, not a 304.
            read = now.request("GET", path, headers={"If-None-Match": tag})
            assert read.status_code == 200
            assert read.json() == first.json() | {"note": None}
            list_tag = {"If-None-Match": listed.headers["ETag"]}
            assert now.request("GET", headers=list_tag).status_code == 200
            assert now.request("GET", headers={"If-None-Match": "x"}).json() == [read.json()]
            # The repeated request is the one of before.
            again = now.request("POST", json={"title": "before"}, headers=key)
            assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
            assert again.json() == read.json()
            # The task hasn't changed, so an old tag still lets it be written.
            change = {"note": "new", "completed": True}
            changed = now.request("PATCH", path, json=change, headers={"If-Match": tag})
            assert changed.status_code == 200
            assert changed.json().items() > change.items()
            stale = now.request("PATCH", path, json=change, headers={"If-Match": tag})
            assert_error(stale, 412, "The task has changed since")
            assert now.create(note="mine")["note"] == "mine"
            assert now.request("POST", json={"title": "x", "note": 5}).status_code == 422
            completed = now.request("PATCH", f"{path}/complete").json()
            assert (completed["note"], completed["completed"]) == ("new", False)
        assert user.create()["title"] == "a task"
        assert user.request("PUT", path, json={"title": "by the release before"}).status_code == 200


def test_a_new_query_route_and_error(
    make_service: MakeService, own_url: str, tmp_path: Path
) -> None:
    copy = copy_project(tmp_path / "copy")
    touched = follow_recipe(copy, "Add a query and its route")
    assert touched == [
        "sql/tasks/count_tasks.sql",
        "taskapi/tasks/queries.py",
        "taskapi/tasks/routes.py",
        "taskapi/openapi/openapi.yaml",
        "tests/support/plans.py",
    ]
    touched = follow_recipe(copy, "Add an error")
    assert list(dict.fromkeys(touched)) == [
        "taskapi/exceptions.py",
        "taskapi/web/errors.py",
        "taskapi/tasks/routes.py",
        "taskapi/openapi/openapi.yaml",
        "tests/openapi/test_openapi_errors.py",
    ]
    service = serve_copy(copy, own_url, make_service)
    with service.client() as client:
        user = Account.sign_up(client)
        other = Account.sign_up(client)
        assert_error(user.request("GET", "/count"), 404, "There are no tasks to count")
        user.create()
        assert user.request("GET", "/count").json() == {"tasks": 1}
        assert_error(other.request("GET", "/count"), 404)
        assert_error(client.get(f"{user.tasks}/count"), 401)


@pytest.mark.slow
def test_a_copy_with_every_recipe_passes_its_own_tests(server_url: str, tmp_path: Path) -> None:
    """What the recipes leave out, such as a line in openapi.yaml, would fail here."""
    copy = copy_project(tmp_path / "copy")
    for recipe in ("Add a column to tasks", "Add a query and its route", "Add an error"):
        follow_recipe(copy, recipe)
    check_copy(
        copy,
        server_url,
        "tests/openapi",
        "tests/database/test_sql_files.py",
        "tests/database/test_plans.py",
    )
