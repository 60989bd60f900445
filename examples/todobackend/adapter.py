"""todobackend.com's API on top of taskapi's, over HTTP: a WSGI application.

examples/README.md has the command. It keeps all todos as the tasks of one account, which it signs
up for at its start: so it runs as one process.

What it has to invent, for taskapi has nothing like it:

- who calls: taskapi wants a user and a token, todobackend knows neither;
- `order`: a number by which clients sort. It is kept as the task's position, of 17 digits, which
  are in the same order byte by byte;
- `url`: where the todo is. taskapi says so in `Location` of a new task only;
- DELETE of the whole list: one DELETE for each task, which is neither one request nor one
  transaction;
- CORS for every origin: taskapi answers the origins that are listed in CORS_ORIGINS.
"""

from __future__ import annotations

import secrets
from typing import Any

import httpx
from flask import Flask, Response, jsonify, request, url_for
from flask_cors import CORS

# Larger than the greatest whole number of JavaScript, 2**53 - 1.
MIDDLE = 10**16


class Tasks:
    """The tasks of the adapter's own account."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.Client(base_url=base_url)
        name = secrets.token_hex(8)
        credentials = {
            "email": f"todobackend-{name}@example.com",
            "password": secrets.token_urlsafe(24),
        }
        self.http.post("/api/auth/signup", json=credentials).raise_for_status()
        login = self.http.post("/api/auth/login", json=credentials).raise_for_status().json()
        self.http.headers["Authorization"] = f"Bearer {login['token']}"
        self.path = f"/api/{login['user_id']}/tasks"

    def call(self, method: str, path: str = "", **kwargs: Any) -> httpx.Response:
        """Send a request to the tasks, or to the path below them."""
        return self.http.request(method, self.path + path, **kwargs)

    def list_all(self) -> list[dict[str, Any]]:
        """Return the tasks of all pages."""
        tasks: list[dict[str, Any]] = []
        url = f"{self.path}?sort=position"
        while url:
            page = self.http.get(url).raise_for_status()
            tasks += page.json()
            url = page.links.get("next", {}).get("url", "")
        return tasks


def create_adapter(base_url: str) -> Flask:
    """Return the adapter to the taskapi at this address."""
    app = Flask(__name__)
    CORS(app)
    tasks = Tasks(base_url)

    def as_todo(task: dict[str, Any]) -> dict[str, Any]:
        position = task["position"]
        return {
            "title": task["title"],
            "completed": task["completed"],
            "order": None if position is None else int(position) - MIDDLE,
            "url": url_for("read", id=task["id"], _external=True),
        }

    def as_task() -> dict[str, Any]:
        todo = request.get_json()
        members = {name: todo[name] for name in ("title", "completed") if name in todo}
        if "order" in todo:
            order = todo["order"]
            members["position"] = None if order is None else f"{MIDDLE + int(order):017}"
        return members

    def answer(response: httpx.Response) -> tuple[Response, int]:
        body = response.json()
        return jsonify(as_todo(body) if response.is_success else body), response.status_code

    @app.get("/")
    def index() -> Response:
        return jsonify([as_todo(task) for task in tasks.list_all()])

    @app.post("/")
    def create() -> tuple[Response, int]:
        return answer(tasks.call("POST", json=as_task()))

    @app.delete("/")
    def clear() -> tuple[str, int]:
        for task in tasks.list_all():
            tasks.call("DELETE", f"/{task['id']}")
        return "", 204

    @app.get("/<uuid:id>")
    def read(id: str) -> tuple[Response, int]:
        return answer(tasks.call("GET", f"/{id}"))

    @app.patch("/<uuid:id>")
    def change(id: str) -> tuple[Response, int]:
        return answer(tasks.call("PATCH", f"/{id}", json=as_task()))

    @app.delete("/<uuid:id>")
    def delete(id: str) -> tuple[str, int]:
        return "", tasks.call("DELETE", f"/{id}").status_code

    return app
