"""A client that openapi-python-client makes from the document takes the README's tour."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.openapi import write_document
from tests.support.service import Service, run_command

PASSWORD = "a long password"


@pytest.fixture
def generated(tmp_path: Path) -> Iterator[None]:
    """Make the package `taskapi_client`; its last step, ruff, is left out."""
    config = tmp_path / "config.yaml"
    config.write_text("post_hooks: []\n")
    arguments = ["--meta", "none", "--fail-on-warning", "--config", str(config)]
    package = tmp_path / "taskapi_client"
    done = run_command(
        *("-m", "openapi_python_client", "generate", "--path", str(write_document(tmp_path))),
        *(*arguments, "--output-path", str(package)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(tmp_path))
    yield
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == package.name]:
        del sys.modules[name]


@pytest.mark.usefixtures("generated")
def test_a_generated_client_takes_the_tour(service: Service) -> None:
    client_module: Any = import_module("taskapi_client")
    models: Any = import_module("taskapi_client.models")

    def call(name: str, *args: Any, client: Any, **kwargs: Any) -> Any:
        return import_module(f"taskapi_client.api.{name}").sync_detailed(
            *args, client=client, **kwargs
        )

    with client_module.Client(base_url=service.url) as anybody:
        body = models.SignupRequest(email="generated@example.com", password=PASSWORD)
        account = call("accounts.sign_up", client=anybody, body=body)
        assert account.status_code == 201
        taken = call("accounts.sign_up", client=anybody, body=body)
        assert taken.parsed == models.Error(detail="Email already registered")
        body = models.LoginRequest(email="generated@example.com", password=PASSWORD)
        login = call("accounts.log_in", client=anybody, body=body).parsed
        assert login.user_id == account.parsed.user_id
        assert call("service.ready", client=anybody).parsed == models.Status(status="ok")
        assert call("service.health", client=anybody).status_code == 200
        assert call("service.index", client=anybody).parsed.links["openapi"] == "/openapi.json"
    with client_module.AuthenticatedClient(base_url=service.url, token=login.token) as client:
        user = login.user_id
        body = models.CreateTaskRequest(title=" Buy milk ", description=None)
        first, second = (
            call("tasks.create_task", user, client=client, body=body, idempotency_key="one")
            for _ in range(2)
        )
        task = first.parsed
        assert (first.status_code, second.parsed) == (201, task)
        assert second.headers["Idempotency-Replayed"] == "true"
        assert (task.title, task.description, task.completed) == ("Buy milk", None, False)
        assert call("tasks.list_tasks", user, client=client, limit=1, q="milk").parsed == [task]
        order = models.ListTasksSort.OLDEST_FIRST
        assert (order.value, models.ListTasksSort.NEWEST_FIRST.value) == (
            "created_at",
            "-created_at",
        )
        assert call("tasks.list_tasks", user, client=client, sort=order).parsed == [task]
        read = call("tasks.get_task", user, task.id, client=client)
        assert read.parsed == task
        tag = read.headers["ETag"]
        again = call("tasks.get_task", user, task.id, client=client, if_none_match=tag)
        assert again.status_code == 304
        body = models.UpdateTaskRequest(title="Buy oat milk")
        assert call("tasks.update_task", user, task.id, client=client, body=body).parsed.title == (
            "Buy oat milk"
        )
        body = models.PatchTaskRequest(description="two litres")
        stale = call("tasks.patch_task", user, task.id, client=client, body=body, if_match=tag)
        assert (stale.status_code, type(stale.parsed)) == (412, models.Conflict)
        assert stale.parsed.current.title == "Buy oat milk"
        since = call("tasks.list_changes", user, client=client).parsed.next_
        batch = models.BatchRequest(
            operations=[
                models.CreateOperation(op="create", title="Buy bread"),
                models.UpdateOperation(op="update", id=task.id, title="Buy oat milk"),
            ]
        )
        done = call("tasks.write_batch", user, client=client, body=batch).parsed
        assert [result.status for result in done.results] == [201, 200]
        feed = call("tasks.list_changes", user, client=client, since=since).parsed
        assert {change.id for change in feed.changes} == {result.task.id for result in done.results}
        bread = done.results[0].task
        call("tasks.delete_task", user, bread.id, client=client)
        patched = call("tasks.patch_task", user, task.id, client=client, body=body).parsed
        assert (patched.title, patched.description) == ("Buy oat milk", "two litres")
        assert call("tasks.complete_task", user, task.id, client=client).parsed.completed
        body = models.CompleteTaskRequest(completed=True)
        done = call("tasks.complete_task", user, task.id, client=client, body=body).parsed
        assert done.completed
        refused = call(
            "tasks.create_task", user, client=client, body=models.CreateTaskRequest(title="")
        )
        [fault] = refused.parsed.detail
        assert fault.loc == ["body", "title"]
        assert call("tasks.delete_task", user, task.id, client=client).status_code == 204
        gone = call("tasks.get_task", user, task.id, client=client).parsed
        assert gone == models.Error(detail="Task not found")
