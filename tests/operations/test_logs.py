"""The log: what each line has, what none has, and that a program can read all of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import uuid
from datetime import datetime
from typing import Any

import psutil
import psycopg
import pytest

from tests.support.accounts import PASSWORD, Account
from tests.support.fixtures import MakeService
from tests.support.service import ROOT, Service, environment, wait_until

MEMBERS = {
    "time",
    "level",
    "message",
    "request_id",
    "method",
    "route",
    "operation",
    "status",
    "duration_ms",
    "db_ms",
    "db_wait_ms",
    "user_id",
    "task_id",
    "client_ip",
}
TASKS = "/api/<user_id>/tasks"
TASK = f"{TASKS}/<id>"


def read_log(service: Service) -> list[dict[str, Any]]:
    """Return all that the service has written to standard error; each line must be an object."""
    lines = service.log.read_text().split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def find_line(service: Service, id: str) -> dict[str, Any]:
    """Return the line of the request with this id, once it is written."""

    def lines() -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in service.log.read_text().splitlines()
            if id in line and '"message":"request"' in line
        ]

    wait_until("the request's line", lambda: bool(lines()))
    [line] = lines()
    return line


@pytest.mark.parametrize(
    ("method", "path", "json", "status", "operation", "route"),
    [
        ("POST", "", {"title": "t"}, 201, "create_task", TASKS),
        ("GET", "", None, 200, "list_tasks", TASKS),
        ("GET", "/{id}", None, 200, "get_task", TASK),
        ("PUT", "/{id}", {"title": "t"}, 200, "update_task", TASK),
        ("PATCH", "/{id}", {"completed": True}, 200, "patch_task", TASK),
        ("PATCH", "/{id}/complete", None, 200, "complete_task", f"{TASK}/complete"),
        ("DELETE", "/{id}", None, 204, "delete_task", TASK),
        ("GET", "/{other}", None, 404, "get_task", TASK),
        ("PUT", "/{id}", {"title": ""}, 422, "update_task", TASK),
        ("GET", "/no-uuid", None, 422, "get_task", TASK),
    ],
)
def test_each_task_operation_is_a_line(
    service: Service,
    user: Account,
    method: str,
    path: str,
    json: dict[str, Any] | None,
    status: int,
    operation: str,
    route: str,
) -> None:
    """T016, T023, T037: what was done, by whom, to which task, and how it ended."""
    ids = {"id": user.create()["id"], "other": str(uuid.uuid4())}
    response = user.request(method, path.format(**ids), json=json)
    assert response.status_code == status
    line = find_line(service, response.headers["X-Request-ID"])
    assert set(line) == MEMBERS
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    assert line["time"].endswith("Z")
    assert line["level"] == "info"
    assert line["operation"] == f"tasks.{operation}"
    assert (line["method"], line["route"], line["status"]) == (method, route, status)
    assert line["user_id"] == user.id
    if status == 201:
        assert line["task_id"] == response.json()["id"]
    else:
        name = path.removeprefix("/").removesuffix("/complete").strip("{}")
        assert line["task_id"] == ids.get(name)
    assert line["client_ip"] == "127.0.0.1"
    assert (line["db_ms"] > 0) == (status != 422)
    assert line["duration_ms"] > line["db_ms"] + line["db_wait_ms"]


def test_who_logs_in_is_logged_if_it_succeeds(service: Service, user: Account) -> None:
    for password, user_id in ((PASSWORD, user.id), ("wrong password", None)):
        credentials = {"email": user.email, "password": password}
        response = user.client.post("/api/auth/login", json=credentials)
        line = find_line(service, response.headers["X-Request-ID"])
        assert line["operation"] == "auth.log_in"
        assert line["user_id"] == user_id


def test_a_path_without_a_route_is_not_logged(service: Service, user: Account) -> None:
    response = user.client.get("/secret-path")
    line = find_line(service, response.headers["X-Request-ID"])
    assert (line["route"], line["operation"], line["status"]) == ("unmatched", None, 404)
    assert "secret-path" not in service.log.read_text()


def test_every_line_is_json_and_none_tells_a_secret(
    make_service: MakeService, own_url: str
) -> None:
    """At level debug, with refusals, defects and a crash: also what gunicorn and libraries say."""
    service = make_service(DATABASE_URL=own_url, LOG_LEVEL="debug", WEB_CONCURRENCY="1")
    service.start()
    title, text = "a-marker-in-a-title", "a-marker-in-a-description"
    with service.client() as client, psycopg.connect(own_url, autocommit=True) as dba:
        user = Account.sign_up(client)
        task = user.create(title, description=text)
        path = f"/{task['id']}"
        for body in (
            {"title": title * 100, "description": text},
            {"title": "t\0" + title, "description": [text]},
            {"title": "t", "description": text * 1000},
        ):
            assert user.request("PUT", path, json=body).status_code == 422
        assert user.request("POST", content=f'{{"title": "{title}"').status_code == 415
        assert user.request("GET", params={"q": title}).status_code == 200
        assert user.request("GET", params={"limit": title}).status_code == 422
        for token in (user.token[:-9], f"{user.token}x", "a-marker-in-a-token"):
            headers = {"Authorization": f"Bearer {token}"}
            assert user.request("GET", headers=headers).status_code == 401
        for password in ("a-marker-in-a-password", "a-marker" * 100):
            credentials = {"email": user.email, "password": password}
            assert client.post("/api/auth/login", json=credentials).status_code in (401, 422)
        # PostgreSQL's message of this one shows the row.
        dba.execute(f"ALTER TABLE tasks ADD CONSTRAINT odd CHECK (title <> '{title}') NOT VALID")
        response = user.request("POST", json={"title": title, "description": text})
        assert response.status_code == 500
        # What gunicorn refuses by itself, it would quote.
        for head in (
            f"GET /{title} HTTP/7.0",
            f"GET /?q={title}",
            f"GET / HTTP/1.1\r\nAuthorization : Bearer {user.token}",
        ):
            with socket.create_connection(("127.0.0.1", service.port)) as plain:
                plain.sendall(head.encode() + b"\r\n\r\n")
                assert plain.recv(100).startswith((b"HTTP/1.1 4", b"HTTP/1.1 505"))
        assert service.process is not None
        [worker] = psutil.Process(service.process.pid).children()
        worker.send_signal(signal.SIGKILL)
        wait_until("the crash", lambda: "SIGKILL" in service.log.read_text())
        wait_until("another worker", lambda: service.answers("/ready"))
    assert service.stop() == 0
    lines = read_log(service)
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    assert {"debug", "info", "warning", "error"} <= {line["level"] for line in lines}
    [defect] = [line for line in lines if "exception" in line]
    assert defect["request_id"] == response.headers["X-Request-ID"]
    assert defect["exception"].startswith("  File ")
    assert defect["exception"].endswith("CheckViolation 23514 tasks odd")
    refused = [line["message"] for line in lines if "Invalid request" in line["message"]]
    assert [message.partition(": ")[2] for message in refused] == [
        "InvalidHTTPVersion",
        "InvalidRequestLine",
        "InvalidHeaderName",
    ]
    for secret in (title, text, user.token, user.token[:-9], PASSWORD, "a-marker", user.email):
        assert secret not in service.log.read_text()


def test_a_share_of_the_successes_is_logged_and_all_failures(
    make_service: MakeService, database_url: str
) -> None:
    for share, low, high in (("0", 0, 0), ("0.5", 1, 199)):
        service = make_service(DATABASE_URL=database_url, LOG_SUCCESSES=share)
        service.start()
        with service.client() as client:
            for _ in range(200):
                assert client.get("/health").status_code == 200
            for _ in range(20):
                assert client.get("/nothing").status_code == 404
        assert service.stop() == 0
        statuses = [line.get("status") for line in read_log(service)]
        assert low <= statuses.count(200) <= high
        assert statuses.count(404) == 20


def test_text_is_for_people(make_service: MakeService, database_url: str) -> None:
    service = make_service(DATABASE_URL=database_url, LOG_FORMAT="text")
    service.start()
    with service.client() as client:
        client.get("/health", headers={"X-Request-ID": "for-people"})
    assert service.stop() == 0
    lines = service.log.read_text().splitlines()
    assert any("INFO Starting gunicorn" in line for line in lines)
    [line] = [line for line in lines if "for-people" in line]
    assert "INFO request request_id=for-people method=GET route=/health" in line


@pytest.mark.parametrize(("log_format", "is_json"), [("auto", False), ("json", True)])
def test_a_terminal_gets_text_unless_json_is_asked_for(log_format: str, is_json: bool) -> None:
    code = (
        "import logging; from taskapi.config import load_config; from taskapi import create_app;"
        "create_app(load_config());"
        "\ntry: {}['k']\nexcept KeyError: logging.getLogger('taskapi').exception('odd \\udcff')"
    )
    ours, theirs = pty.openpty()
    variables = {"DATABASE_URL": "postgresql://db/x", "JWT_SECRET": "x" * 32}
    env = environment(**variables, LOG_FORMAT=log_format)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, stderr=theirs, check=True)
    os.close(theirs)
    written = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    os.close(ours)
    if is_json:
        assert json.loads(written)["exception"].endswith("\nKeyError")
    else:
        assert "ERROR odd \\udcff process=" in written
        assert written.endswith("\nKeyError\n")
