"""Users of the service, and the two ways to get one."""

from __future__ import annotations

import time
import uuid
from functools import cache
from typing import Any, Self

import httpx
import jwt
import psycopg

from taskapi.accounts.passwords import HASHER
from tests.support.patience import until_served
from tests.support.service import SECRET

PASSWORD = "correct horse battery staple"
SIGNUP = "/api/auth/signup"
LOGIN = "/api/auth/login"


def new_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def sign_up(client: httpx.Client, email: str, password: str = PASSWORD) -> httpx.Response:
    return client.post(SIGNUP, json={"email": email, "password": password})


def log_in(client: httpx.Client, email: str, password: str = PASSWORD) -> httpx.Response:
    return client.post(LOGIN, json={"email": email, "password": password})


@cache
def hash_of_password() -> str:
    """Return a hash of PASSWORD as the service makes it, once for all users."""
    return HASHER.hash(PASSWORD)


class Account:
    """A user with a token, and requests to the user's tasks."""

    def __init__(self, client: httpx.Client, id: str, email: str, token: str) -> None:
        self.client = client
        self.id = id
        self.email = email
        self.token = token
        self.headers = {"Authorization": f"Bearer {self.token}"}
        self.tasks = f"/api/{self.id}/tasks"

    @classmethod
    def sign_up(cls, client: httpx.Client) -> Self:
        """Create a user by HTTP: sign up and log in."""
        email = new_email()
        signup = until_served(lambda: sign_up(client, email))
        assert signup.status_code == 201, signup.text
        login = until_served(lambda: log_in(client, email))
        assert login.status_code == 200, login.text
        return cls(client, login.json()["user_id"], email, login.json()["token"])

    @classmethod
    def insert(cls, client: httpx.Client, database: psycopg.Connection[Any] | str) -> Self:
        """Create a user in the database, by a connection or a URL: no hash is computed.

        The token is signed with the tests' secret.
        """
        if isinstance(database, str):
            with psycopg.connect(database) as conn:
                return cls.insert(client, conn)
        email = new_email()
        row = database.execute(
            "INSERT INTO users (email, password_hash) VALUES (%s, %s) RETURNING id::text",
            [email, hash_of_password()],
        ).fetchone()
        assert row is not None
        now = int(time.time())
        claims = {"sub": row[0], "email": email, "iat": now, "exp": now + 3600}
        return cls(client, row[0], email, jwt.encode(claims, SECRET, algorithm="HS256"))

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
