"""What todobackend.com's specification demands of a todo API, by an adapter on top of ours."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.pages import find_command
from tests.support.service import PATIENCE, ROOT, Service, environment, free_port, wait_until

PYTHON = shlex.quote(sys.executable)
ORIGIN = {"Origin": "https://www.todobackend.com"}


@pytest.fixture(scope="module")
def adapter(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the adapter, which the command in examples/README.md starts."""
    command = find_command("todobackend")
    port = free_port()
    own = {
        "http://127.0.0.1:8000": service.url,
        "--port 8001": f"--port {port}",
        ".venv/bin/python": PYTHON,
    }
    for documented, ours in own.items():
        assert documented in command
        command = command.replace(documented, ours)
    log = tmp_path_factory.mktemp("todobackend") / "adapter.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            shlex.split(command), cwd=ROOT, env=environment(), stdout=file, stderr=file
        )

    def answers() -> bool:
        assert process.poll() is None, Path(log).read_text()
        try:
            return client.get("/").status_code == 200
        except httpx.TransportError:
            return False

    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers=ORIGIN, timeout=PATIENCE
    ) as client:
        wait_until("the adapter", answers)
        yield client
    process.terminate()
    process.wait(PATIENCE)


@pytest.fixture
def root(adapter: httpx.Client) -> httpx.Client:
    """The adapter without any todo."""
    adapter.delete("/")
    return adapter


def create(root: httpx.Client, **members: Any) -> dict[str, Any]:
    todo: dict[str, Any] = root.post("/", json={"title": "blah", **members}).json()
    return todo


def test_the_root_answers_a_get_and_lets_every_origin_read(root: httpx.Client) -> None:
    response = root.get("/")
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN["Origin"])


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_a_browser_may_use_every_method(root: httpx.Client, method: str) -> None:
    wanted = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type",
    }
    response = root.options("/", headers=wanted)
    assert response.status_code == 200
    assert method in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Headers"].lower() == "content-type"


def test_a_post_answers_with_the_todo(root: httpx.Client) -> None:
    response = root.post("/", json={"title": "a todo"})
    assert response.status_code in (200, 201)
    assert response.json()["title"] == "a todo"


def test_a_delete_of_the_root_is_answered(root: httpx.Client) -> None:
    assert root.delete("/").is_success


def test_after_a_delete_of_the_root_there_is_nothing(root: httpx.Client) -> None:
    create(root)
    root.delete("/")
    assert root.get("/").json() == []


def test_a_new_todo_is_in_the_list(root: httpx.Client) -> None:
    create(root, title="walk the dog")
    [todo] = root.get("/").json()
    assert todo["title"] == "walk the dog"


def test_a_new_todo_is_not_completed(root: httpx.Client) -> None:
    create(root)
    [todo] = root.get("/").json()
    assert todo["completed"] is False


def test_each_todo_has_a_url(root: httpx.Client) -> None:
    create(root)
    [todo] = root.get("/").json()
    assert isinstance(todo["url"], str)


def test_the_url_of_a_new_todo_leads_to_it(root: httpx.Client) -> None:
    todo = create(root, title="my todo")
    response = root.get(todo["url"])
    assert response.status_code == 200
    assert response.json()["title"] == "my todo"


def test_the_url_in_the_list_leads_to_the_todo(root: httpx.Client) -> None:
    create(root, title="my todo")
    [todo] = root.get("/").json()
    assert root.get(todo["url"]).json() == todo


def test_a_patch_changes_the_title(root: httpx.Client) -> None:
    todo = create(root, title="initial title")
    changed = root.patch(todo["url"], json={"title": "bathe the cat"})
    assert changed.status_code == 200
    assert changed.json()["title"] == "bathe the cat"


def test_a_patch_changes_completed(root: httpx.Client) -> None:
    todo = create(root)
    assert root.patch(todo["url"], json={"completed": True}).json()["completed"] is True


def test_a_change_is_kept_and_shown_in_the_list_too(root: httpx.Client) -> None:
    todo = create(root)
    changed = root.patch(todo["url"], json={"title": "changed title", "completed": True}).json()
    assert (changed["title"], changed["completed"]) == ("changed title", True)
    assert root.get(todo["url"]).json() == changed
    assert root.get("/").json() == [changed]


def test_a_delete_of_a_todo_takes_it_off_the_list(root: httpx.Client) -> None:
    todo = create(root)
    assert root.delete(todo["url"]).is_success
    assert root.get("/").json() == []
    assert root.get(todo["url"]).status_code == 404


def test_a_todo_is_made_with_an_order(root: httpx.Client) -> None:
    assert create(root, order=523)["order"] == 523


def test_a_patch_changes_the_order(root: httpx.Client) -> None:
    todo = create(root, order=10)
    assert root.patch(todo["url"], json={"order": 95}).json()["order"] == 95


def test_the_order_is_kept(root: httpx.Client) -> None:
    todo = create(root, order=10)
    root.patch(todo["url"], json={"order": 95})
    assert root.get(todo["url"]).json()["order"] == 95
