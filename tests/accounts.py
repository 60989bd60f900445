"""A user of the service, signed up and logged in over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

PASSWORD = "correct horse battery staple"


class Account:
    """A user with a token, who talks to the service."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.email = f"{uuid.uuid4().hex}@example.com"
        credentials = {"email": self.email, "password": PASSWORD}
        signup = client.post("/api/auth/signup", json=credentials)
        assert signup.status_code == 201, signup.text
        login = client.post("/api/auth/login", json=credentials)
        assert login.status_code == 200, login.text
        self.id: str = login.json()["user_id"]
        self.token: str = login.json()["token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}
        self.tasks = f"/api/{self.id}/tasks"

    def request(self, method: str, path: str = "", **kwargs: Any) -> httpx.Response:
        """Send a request to this user's tasks, or to what is below them."""
        headers = self.headers | kwargs.pop("headers", {})
        return self.client.request(method, self.tasks + path, headers=headers, **kwargs)

    def create(self, title: str = "a task", **members: Any) -> dict[str, Any]:
        """Create a task and return it."""
        response = self.request("POST", json={"title": title, **members})
        assert response.status_code == 201, response.text
        task: dict[str, Any] = response.json()
        return task
