"""The Link to the next page is a URL that a client can GET as it is, wherever it asked."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import requests

from tests.support.accounts import Account
from tests.support.fixtures import MakeService
from tests.support.service import NO_AUTHORITIES, PATIENCE, Service

PUBLIC = "https://tasks.example.com"


@pytest.fixture
def bare() -> Iterator[httpx.Client]:
    """A client that knows no base to resolve a path against."""
    with httpx.Client(timeout=PATIENCE, verify=NO_AUTHORITIES) as client:
        yield client


@pytest.fixture
def proxied(shared_service: MakeService, database: psycopg.Connection) -> Iterator[Account]:
    with shared_service(TRUSTED_PROXIES="1").client() as client:
        yield fill(Account.insert(client, database))


def fill(user: Account) -> Account:
    """Give a user two tasks, that is a second page."""
    for title in ("first", "second"):
        user.create(title)
    return user


def next_of(user: Account, **headers: str) -> str:
    """Return where the Link of a first page leads."""
    response = user.request("GET", "?limit=1", headers=headers)
    assert response.status_code == 200
    return response.links["next"]["url"]


def assert_leads_on(client: httpx.Client, user: Account, url: str, **headers: str) -> None:
    response = client.get(url, headers=user.headers | headers)
    assert [task["title"] for task in response.json()] == ["first"]
    assert "Link" not in response.headers


def test_it_is_followed_as_it_is(service: Service, user: Account, bare: httpx.Client) -> None:
    url = next_of(fill(user))
    assert url.startswith(f"{service.url}{user.tasks}?limit=1&cursor=")
    assert_leads_on(bare, user, url)


def test_requests_follows_it(service: Service, user: Account) -> None:
    """It resolves no path by itself, as httpx.Client does."""
    fill(user)
    with requests.Session() as session:
        session.headers.update(user.headers)
        url, titles = f"{service.url}{user.tasks}?limit=1", []
        while url:
            response = session.get(url, timeout=PATIENCE)
            titles += [task["title"] for task in response.json()]
            url = response.links.get("next", {}).get("url", "")
    assert titles == ["second", "first"]


def test_it_names_the_host_that_the_client_named(
    service: Service, user: Account, bare: httpx.Client
) -> None:
    fill(user)
    host = f"localhost:{service.port}"
    url = next_of(user, Host=host)
    assert url.startswith(f"http://{host}/api/")
    assert_leads_on(bare, user, url)
    assert next_of(user, Host="tasks.example.com:80").startswith("http://tasks.example.com/api/")
    assert next_of(user, Host="[::1]:8000").startswith("http://[::1]:8000/api/")


def test_a_client_follows_it_through_a_proxy(proxied: Account, bare: httpx.Client) -> None:
    public = f"localhost:{proxied.client.base_url.port}"
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": public}
    url = next_of(proxied, Host="taskapi.internal", **headers)
    assert url.startswith(f"http://{public}/api/")
    assert_leads_on(bare, proxied, url)
    assert next_of(proxied, **{"X-Forwarded-Proto": "https", **headers}).startswith("https://local")


def test_what_a_trusted_proxy_says_counts_and_no_more(proxied: Account) -> None:
    said = {"X-Forwarded-Proto": "http, https", "X-Forwarded-Host": "evil.example, tasks.example"}
    more = {"X-Forwarded-Prefix": "/x", "X-Forwarded-Port": "1", "Forwarded": "host=evil.example"}
    url = next_of(proxied, **said, **more)
    assert url.startswith(f"https://tasks.example{proxied.tasks}?")


def test_without_a_proxy_its_headers_say_nothing(service: Service, user: Account) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    assert next_of(fill(user), **said).startswith(f"{service.url}/api/")


@pytest.mark.parametrize("public", [PUBLIC, f"{PUBLIC}/", f"{PUBLIC}:8443", f"{PUBLIC}/a/b"])
def test_a_setting_has_the_last_word(
    shared_service: MakeService, database: psycopg.Connection, public: str
) -> None:
    service = shared_service(PUBLIC_URL=public, TRUSTED_PROXIES="1")
    said = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"}
    with service.client() as client:
        user = fill(Account.insert(client, database))
        url = next_of(user, Host="evil.example", **said)
        assert url.startswith(f"{public.rstrip('/')}{user.tasks}?")
        # As the proxy passes it on, which has removed the path of its own.
        path = urlsplit(url).path.removeprefix(urlsplit(public.rstrip("/")).path)
        assert_leads_on(client, user, f"{path}?{urlsplit(url).query}")
        created = user.request("POST", json={"title": "third"})
        prefix = urlsplit(public.rstrip("/")).path
        assert created.headers["Location"] == f"{prefix}{user.tasks}/{created.json()['id']}"


def raw(service: Service, head: str) -> tuple[str, dict[str, Any]]:
    """Send a head as it is and return the status line and the headers."""
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        connection.sendall(head.encode("latin-1"))
        head = connection.makefile("rb").read().partition(b"\r\n\r\n")[0].decode("latin-1")
    status, *lines = head.split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize(
    "host",
    ['x>; rel="next", <http://evil.example', "a b", "a,b", "user@evil.example", "evil/x", "ü", ""],
)
def test_a_host_that_is_none_is_not_repeated(service: Service, user: Account, host: str) -> None:
    """The Link is a path then, for its client has asked for nothing that has a URL."""
    fill(user)
    status, headers = raw(
        service,
        f"GET {user.tasks}?limit=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        f"Authorization: Bearer {user.token}\r\n\r\n",
    )
    assert status == "HTTP/1.1 200 OK"
    assert re.fullmatch(r'</api/[\w/.?&=-]+>; rel="next"', headers["Link"])


def test_without_a_host_it_names_the_server(
    service: Service, user: Account, bare: httpx.Client
) -> None:
    """HTTP/1.0 needs none."""
    fill(user)
    _, headers = raw(
        service,
        f"GET {user.tasks}?limit=1 HTTP/1.0\r\nAuthorization: Bearer {user.token}\r\n\r\n",
    )
    url = headers["Link"][1:].partition(">")[0]
    assert url.startswith(f"{service.url}/api/")
    assert_leads_on(bare, user, url)


def test_a_page_without_a_link_has_one_tag_on_every_host(user: Account) -> None:
    user.create()
    tags = {user.request("GET", headers={"Host": host}).headers["ETag"] for host in ("a", "b")}
    assert len(tags) == 1
