"""CORS, for the listed origins only."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.accounts import Account
from tests.service import Service

APP = "https://app.example.com"
LOCAL = "http://localhost:3000"


@pytest.fixture(scope="module")
def cors_service(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("cors") / "gunicorn.log"
    service = Service(log, {"DATABASE_URL": database_url, "CORS_ORIGINS": f" {APP}, {LOCAL}"})
    service.start()
    yield service
    service.stop()


@pytest.fixture
def cors_user(cors_service: Service) -> Iterator[Account]:
    with cors_service.client() as client:
        yield Account(client)


def cors_headers(response: httpx.Response) -> set[str]:
    return {name for name in response.headers if name.startswith("access-control-")}


@pytest.mark.parametrize("origin", [APP, LOCAL])
def test_a_listed_origin_may_read_the_answer(cors_user: Account, origin: str) -> None:
    for response in (
        cors_user.request("GET", headers={"Origin": origin}),
        cors_user.client.get(cors_user.tasks, headers={"Origin": origin}),
        cors_user.client.get("/nope", headers={"Origin": origin}),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert "Origin" in response.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in response.headers
        exposed = response.headers["Access-Control-Expose-Headers"]
        assert {"Location", "X-Request-ID", "Retry-After"} <= set(exposed.split(", "))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_preflight_needs_no_token(cors_user: Account, method: str) -> None:
    response = cors_user.client.options(
        f"{cors_user.tasks}/x",
        headers={
            "Origin": APP,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization, content-type",
        },
    )
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert method in response.headers["Access-Control-Allow-Methods"]
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    assert {"authorization", "content-type"} <= set(allowed.split(", "))
    assert int(response.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "https://app.example.com.evil.com",
        "https://appXexample.com",
        "http://app.example.com",
        "https://app.example.com:444",
        "null",
    ],
)
def test_another_origin_may_not(cors_user: Account, origin: str) -> None:
    response = cors_user.request("GET", headers={"Origin": origin})
    assert response.status_code == 200
    assert cors_headers(response) == set()


def test_without_origins_there_are_no_cors_headers(user: Account) -> None:
    preflight = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    assert cors_headers(user.client.options(user.tasks, headers=preflight)) == set()
    assert cors_headers(user.request("GET", headers={"Origin": APP})) == set()
