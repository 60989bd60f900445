"""The recipes of CONTRIBUTING.md, followed on a copy of the project."""

from __future__ import annotations

from pathlib import Path

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.project_copy import copy_project, follow_recipe, migrate_copy
from tests.support.service import Service

# Nothing is measured in a copy, which is gone when the coverage is reported.
UNMEASURED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}


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
        assert places == {"migrations", "taskapi/tasks/schemas.py", "sql"}
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
    ]
    touched = follow_recipe(copy, "Add an error")
    assert touched == ["taskapi/exceptions.py", "taskapi/web/errors.py"]
    routes = copy / "taskapi" / "tasks" / "routes.py"
    counted = 'return {"tasks": queries.count_tasks(user_id=user_id)}'
    raising = (
        "from taskapi.exceptions import NoTasks\n    if not {0}:\n        raise NoTasks\n    {1}"
    )
    count = "queries.count_tasks(user_id=user_id)"
    routes.write_text(routes.read_text().replace(counted, raising.format(count, counted)))
    service = serve_copy(copy, own_url, make_service)
    with service.client() as client:
        user = Account.sign_up(client)
        other = Account.sign_up(client)
        assert_error(user.request("GET", "/count"), 404, "There are no tasks to count")
        user.create()
        assert user.request("GET", "/count").json() == {"tasks": 1}
        assert_error(other.request("GET", "/count"), 404)
        assert_error(client.get(f"{user.tasks}/count"), 401)
