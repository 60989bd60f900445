"""The service behind nginx with the file that operators get."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import psycopg
import pytest
from werkzeug.http import HTTP_STATUS_CODES

from taskapi.operations.logs import REQUEST_ID
from taskapi.web.headers import HEADERS
from tests.support.accounts import PASSWORD, Account
from tests.support.checks import assert_error
from tests.support.metrics import read_metrics
from tests.support.nginx import Nginx
from tests.support.problems import NOT_PREFERRED, PREFERRED, PROBLEM, WEIGHED, assert_problem
from tests.support.service import PATIENCE, ROOT, Service, environment, free_port, wait_until

OUTSIDE = "127.0.0.2"
TOO_LARGE = "The request body is larger than 64 KiB, or 1 MiB for a batch"


@pytest.fixture(scope="module")
def services(database_url: str) -> Iterator[list[Service]]:
    """Two gunicorns, as behind any nginx."""
    with tempfile.TemporaryDirectory(prefix="taskapi-nginx-services-") as name:
        variables = {"DATABASE_URL": database_url, "TRUSTED_PROXIES": "1"}
        services = [Service(Path(name) / f"{n}.log", variables) for n in range(2)]
        for service in services:
            service.start()
        yield services
        for service in services:
            service.stop()


@pytest.fixture(scope="module")
def nginx(services: list[Service]) -> Iterator[Nginx]:
    with Nginx([service.port for service in services]) as nginx:
        yield nginx


@pytest.fixture
def client(nginx: Nginx) -> Iterator[httpx.Client]:
    with nginx.client() as client:
        yield client


@pytest.fixture
def user(services: list[Service], nginx: Nginx) -> Iterator[Account]:
    """A user who signed up past nginx, whose limit is not this test's subject."""
    with services[0].client() as direct, nginx.client() as client:
        account = Account.sign_up(direct)
        account.client = client
        yield account


def assert_own_error(
    response: httpx.Response, status: int, detail: str, check: Callable[..., None] = assert_error
) -> None:
    """What nginx says itself looks as if the service did, headers included."""
    check(response, status, detail)
    for name, value in HEADERS.items():
        assert response.headers.get_list(name) == [value]
    assert REQUEST_ID.fullmatch(response.headers["X-Request-ID"])
    assert response.headers.get_list("Strict-Transport-Security") == ["max-age=63072000"]
    assert response.headers["Server"] == "nginx"
    assert ("Retry-After" in response.headers) == (status in (429, 502, 503, 504))


class Upstream:
    """What stands where a gunicorn should, and notes the methods of what it is sent."""

    def __init__(self, *, closes: bool) -> None:
        self.closes = closes
        self.methods: list[str] = []
        self.connections: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        """Read each request; close the connection then, or never answer."""
        while True:
            connection, _ = self.listener.accept()
            self.connections.append(connection)
            if not (request := connection.recv(65536)):
                return
            self.methods.append(request.split()[0].decode())
            if self.closes:
                connection.close()

    def close(self) -> None:
        """Stop by a connection that says nothing."""
        socket.create_connection(("127.0.0.1", self.port)).close()
        self.thread.join()
        for connection in [*self.connections, self.listener]:
            connection.close()


class ActivatedService(Service):
    """A gunicorn whose socket is held by somebody else, as by systemd: taskapi.socket."""

    def __init__(self, log: Path, variables: Mapping[str, str]) -> None:
        super().__init__(log, variables)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # What it doesn't listen on: the socket that it is given wins.
        self.variables["PORT"] = str(free_port())

    def start(self, *, ready: bool = True) -> None:
        number = self.listener.fileno()
        # sd_listen_fds(3): the descriptors from 3 on are for the process of this id.
        command = f'exec 3<&{number} {number}<&-; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", command, "bash", *gunicorn],
                cwd=self.root,
                env=environment(**self.variables),
                pass_fds=[number],
                stdout=log,
                stderr=log,
            )
        wait_until("/ready of the service", lambda: self.answers("/ready" if ready else "/health"))

    def close(self) -> None:
        """End it, and its socket."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.listener.close()


def connect(nginx: Nginx, source: str = "127.0.0.1") -> ssl.SSLSocket:
    """Return a connection from this address of the loopback interface.

    It has small buffers and segments, so that the system doesn't keep what a slow reader leaves.
    """
    plain = socket.socket()
    plain.settimeout(PATIENCE)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
    plain.bind((source, 0))
    plain.connect(("127.0.0.1", nginx.port))
    return nginx.tls().wrap_socket(plain, server_hostname="127.0.0.1")


def send_raw(nginx: Nginx, request: bytes, source: str = "127.0.0.1") -> bytes:
    """Send what no client library would, and return all that comes until the end."""
    with connect(nginx, source) as connection:
        connection.sendall(request)
        answer = b""
        while received := connection.recv(65536):
            answer += received
        return answer


def parse(answers: bytes) -> list[httpx.Response]:
    """Return the answers that came one after another."""
    parsed = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        headers = httpx.Headers([(name, value) for name, _, value in pairs])
        length = int(headers["Content-Length"])
        status = int(line.removeprefix("HTTP/1.1 ").split()[0])
        parsed.append(httpx.Response(status, headers=headers, content=rest[:length]))
        answers = rest[length:]
    return parsed


def test_every_task_route_works(user: Account) -> None:
    task = user.create("through nginx", description="ä" * 10_000)
    path = f"/{task['id']}"
    assert user.request("GET", path).json() == task
    changed = user.request("PUT", path, json={"title": "changed"}).json()
    assert (changed["title"], changed["description"]) == ("changed", task["description"])
    assert user.request("PATCH", path, json={"title": "again"}).json()["title"] == "again"
    assert user.request("PATCH", f"{path}/complete").json()["completed"] is True
    assert [row["id"] for row in user.request("GET").json()] == [task["id"]]
    assert user.request("HEAD", path).content == b""
    assert user.request("DELETE", path).status_code == 204
    assert_error(user.request("DELETE", path), 404, "Task not found")
    assert set(user.client.options(user.tasks).headers["Allow"].split(", ")) > {"GET", "POST"}


def test_the_tour_of_the_readme_works(nginx: Nginx) -> None:
    [tour] = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        ["bash", "-eu", "-c", tour],
        env=os.environ | {"API": nginx.url, "CURL_CA_BUNDLE": str(nginx.certificate)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == ""
    _, listed, *_, deleted = done.stdout.splitlines()
    assert json.loads(listed)[0]["title"] == "Buy milk"
    assert deleted == "204"


def test_the_services_answers_come_as_they_are(user: Account, services: list[Service]) -> None:
    """Its headers once, its errors in its own words, its dates of this nginx's clock aside."""
    with services[0].client() as direct:
        for method, path, kwargs in (
            ("GET", "", {}),
            ("GET", "/nope", {}),
            ("POST", "", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
            ("POST", "", {"content": b"{}"}),
            ("POST", "", {"json": {}}),
            ("GET", "", {"headers": {"Authorization": "Bearer nonsense"}}),
            ("PUT", "/00000000-0000-0000-0000-000000000000", {"json": {"title": "t"}}),
            ("DELETE", "/00000000-0000-0000-0000-000000000000", {}),
        ):
            through = user.request(method, path, **kwargs)
            user.client, through_nginx = direct, user.client
            past = user.request(method, path, **kwargs)
            user.client = through_nginx
            assert (through.status_code, through.content) == (past.status_code, past.content)
            own = {"date", "server", "connection", "x-request-id", "strict-transport-security"}
            assert [item for item in through.headers.items() if item[0] not in own] == [
                item for item in past.headers.items() if item[0] not in own
            ]
            assert len(through.headers.get_list("X-Request-ID")) == 1
            assert len(through.headers.get_list("Strict-Transport-Security")) == 1


def test_an_etag_stays_strong_whatever_the_client_can_unpack(user: Account) -> None:
    task = user.create(description="long " * 2000)
    gzip = {"Accept-Encoding": "gzip, br"}
    read = user.request("GET", f"/{task['id']}", headers=gzip)
    assert "Content-Encoding" not in read.headers
    tag = read.headers["ETag"]
    assert tag.startswith(f'"{task["updated_at"]}')
    not_modified = user.request("GET", f"/{task['id']}", headers={"If-None-Match": tag})
    assert not_modified.status_code == 304
    for status in (200, 412):
        answer = user.request(
            "PUT", f"/{task['id']}", json={"title": "t"}, headers=gzip | {"If-Match": tag}
        )
        assert answer.status_code == status


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_64_kib_and_no_more(user: Account, chunked: bool) -> None:
    for size, status in ((65_536, 201), (65_537, 413), (10_000_000, 413)):
        body = b'{"title": "t"' + b" " * (size - 14) + b"}"
        response = user.request(
            "POST",
            content=iter([body[:9], body[9:]]) if chunked else body,
            headers={"Content-Type": "application/json"},
        )
        if status == 201:
            assert response.status_code == 201
        else:
            assert_own_error(
                response, 413, "The request body is larger than 64 KiB, or 1 MiB for a batch"
            )


def test_a_client_that_logs_in_too_often_has_to_wait(nginx: Nginx) -> None:
    with nginx.client("127.0.0.3") as client, nginx.client("127.0.0.4") as other:
        answers = [client.post("/api/auth/login", json={}) for _ in range(60)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) >= 20
        assert {answer.status_code for answer in answers[:31]} == {422}
        for answer in refused:
            assert_own_error(answer, 429, "Too many requests: try again later")
            assert answer.headers["Retry-After"] == "1"
        assert_error(other.post("/api/auth/login", json={}), 422)
        assert client.get("/health").status_code == 200


def ask_often(nginx: Nginx, path: str, source: str) -> list[httpx.Response]:
    """Return the answers to 900 requests that are sent at once from this address."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n"
    requests = f"{request}\r\n" * 899 + f"{request}Connection: close\r\n\r\n"
    return parse(send_raw(nginx, requests.encode(), source))


def test_a_client_that_asks_too_often_has_to_wait() -> None:
    """Without a gunicorn, which might be slower than the limit: what isn't refused gets 502."""
    with Nginx([free_port()]) as nginx:
        answers = [answer for _ in range(5) for answer in ask_often(nginx, "/api/x", "127.0.0.7")]
        assert len(answers) == 4500
        assert {answer.status_code for answer in answers[:1000]} == {502}
        refused = [answer for answer in answers if answer.status_code == 429]
        for answer in refused[:1] + refused[-1:]:
            assert_own_error(answer, 429, "Too many requests: try again later")
            assert answer.headers["Retry-After"] == "1"
        assert refused
        # Only there, and only that client.
        for path, source in (("/health", "127.0.0.7"), ("/api/x", "127.0.0.8")):
            others = ask_often(nginx, path, source)
            assert [answer.status_code for answer in others] == [502] * 900


def test_nobody_chooses_the_address_that_failed_logins_are_counted_by(nginx: Nginx) -> None:
    with nginx.client("127.0.0.5") as client, nginx.client("127.0.0.6") as other:
        for n in range(21):
            response = client.post(
                "/api/auth/login",
                json={"email": f"nobody{n}@example.com", "password": PASSWORD},
                headers={"X-Forwarded-For": f"192.0.2.{n}", "X-Real-IP": f"192.0.2.{n}"},
            )
            if n < 20:
                assert_error(response, 401)
        assert_error(response, 429, "Too many failed logins: try again later")
        body = {"email": "somebody@example.com", "password": PASSWORD}
        assert_error(other.post("/api/auth/login", json=body), 401)


def test_a_link_leads_through_nginx_whatever_the_client_says(nginx: Nginx, user: Account) -> None:
    for title in ("first", "second"):
        user.create(title)
    said = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    for headers in ({}, said):
        page = user.request("GET", "?limit=1", headers=headers)
        url = page.links["next"]["url"]
        assert url.startswith(f"{nginx.url}{user.tasks}?")
        assert user.client.get(url, headers=user.headers).json()[0]["title"] == "first"


@pytest.mark.parametrize("path", ["/ready", "/ready/", "//ready", "/x/../ready"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_what_is_for_operators_is_not_there_for_others(
    nginx: Nginx, method: str, path: str
) -> None:
    with nginx.client(OUTSIDE) as client:
        # httpx would tidy the path
        request = client.build_request(method, "/")
        request.url = request.url.copy_with(raw_path=path.encode())
        response = client.send(request)
    if method == "HEAD":
        assert response.status_code == 404
    else:
        assert_own_error(response, 404, "Not found")


def test_nobody_sees_the_metrics_through_nginx(client: httpx.Client) -> None:
    assert_error(client.get("/metrics"), 404, "Not found")


def test_a_method_made_up_leads_nowhere(nginx: Nginx) -> None:
    """The way round for PUT and DELETE can't be used from outside."""
    with nginx.client(OUTSIDE) as client:
        for method in ("ROUND", "ROUNDPOST", "POST"):
            headers = {"X-Real-Method": "GET /ready?"}
            assert_error(client.request(method, "/health", headers=headers), 405)


def test_this_machine_may_see_what_is_for_operators(client: httpx.Client) -> None:
    assert client.get("/ready").json() == {"status": "ok"}


def test_the_request_id_is_the_clients_or_one_for_all_logs(
    client: httpx.Client, nginx: Nginx, services: list[Service]
) -> None:
    own = client.get("/health", headers={"X-Request-ID": "the-clients.own_1"})
    assert own.headers["X-Request-ID"] == "the-clients.own_1"
    new = client.put("/health", headers={"X-Request-ID": "not good"}).headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{32}", new)
    for id in ("the-clients.own_1", new):
        logged = f'"request_id": "{id}"'
        wait_until("nginx's log", lambda logged=logged: logged in nginx.access_log.read_text())  # type: ignore[misc]
        assert nginx.access_log.read_text().count(logged) == 1
        wait_until("the log", lambda id=id: any(id in s.log.read_text() for s in services))  # type: ignore[misc]


def test_a_log_line_is_json_and_bears_no_query(nginx: Nginx, user: Account) -> None:
    with nginx.client(OUTSIDE) as client:
        user.client = client
        answer = user.request("GET", "?q=a-secret-of-mine")
    id = answer.headers["X-Request-ID"]
    wait_until("the line", lambda: id in nginx.access_log.read_text())
    lines = [json.loads(line) for line in nginx.access_log.read_text().splitlines()]
    [line] = [line for line in lines if line["request_id"] == id]
    assert (line["method"], line["path"], line["status"]) == ("GET", user.tasks, 200)
    assert line["client_ip"] == OUTSIDE
    assert "a-secret-of-mine" not in nginx.access_log.read_text()


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        (b"nonsense\r\n\r\n", 400, "The request is malformed"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "The request is malformed"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "The request is malformed"),
        (b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 9000), 414, "The URI is too long"),
        (
            b"GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (b"x" * 4050),
            414,
            "The URI is too long",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"x" * 9000),
            431,
            "The request's headers are too large",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
            400,
            "The request is malformed",
        ),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Method not allowed"),
    ],
)
def test_what_nginx_refuses_has_the_services_shape(
    nginx: Nginx, request_: bytes, status: int, detail: str
) -> None:
    [answer] = parse(send_raw(nginx, request_))
    assert_own_error(answer, status, detail)


@pytest.mark.parametrize("accept", PREFERRED)
def test_a_client_that_prefers_problem_details_gets_them_from_nginx_too(
    client: httpx.Client, accept: str
) -> None:
    response = client.get("/" + "x" * 4050, headers={"Accept": accept})
    assert_own_error(response, 414, "The URI is too long", assert_problem)


@pytest.mark.parametrize("accept", [*NOT_PREFERRED, *WEIGHED])
def test_a_client_that_does_not_gets_what_it_always_got(client: httpx.Client, accept: str) -> None:
    response = client.get("/" + "x" * 4050, headers={"Accept": accept})
    assert_own_error(response, 414, "The URI is too long")
    assert response.content == b'{"detail": "The URI is too long"}'


def test_each_error_of_nginx_is_a_problem_for_a_client_that_prefers_them(nginx: Nginx) -> None:
    head = f"Host: x\r\nAccept: {PROBLEM}\r\n".encode()
    for request, status, detail in (
        (b"GET / HTTP/1.1\r\n%sX: %s\r\n\r\n" % (head, b"x" * 9000), 431, "too large"),
        (b"GET / HTTP/1.1\r\n%sHost: y\r\n\r\n" % head, 400, "malformed"),
        (b"TRACE / HTTP/1.1\r\n%s\r\n" % head, 405, "Method not allowed"),
        (b"POST / HTTP/1.1\r\n%sContent-Length: 65537\r\n\r\n" % head, 413, "64 KiB"),
        (b"GET /ready HTTP/1.1\r\n%sConnection: close\r\n\r\n" % head, 404, "Not found"),
    ):
        [answer] = parse(send_raw(nginx, request, OUTSIDE))
        assert detail in answer.json()["detail"]
        assert_own_error(answer, status, answer.json()["detail"], assert_problem)


def test_without_any_gunicorn_it_says_so_in_the_form_that_is_preferred() -> None:
    """Also where a request makes the round trip through nginx."""
    with Nginx([free_port()]) as nginx, nginx.client() as client:
        for method in ("GET", "PUT"):
            response = client.request(method, "/api/x/tasks/y", headers={"Accept": PROBLEM})
            assert_own_error(response, 502, "The service is not available", assert_problem)
        assert_own_error(client.get("/"), 502, "The service is not available")


def test_the_services_problems_come_as_they_are(user: Account) -> None:
    response = user.request("PUT", "/x", json={}, headers={"Accept": PROBLEM})
    assert_problem(response, 422)


def test_the_words_for_a_status_are_those_of_the_service() -> None:
    text = (ROOT / "deploy/nginx.conf").read_text()
    [titles] = re.findall(r"map \$status \$title {\n *default [^\n]*\n(.*?)}", text, re.DOTALL)
    [answered] = re.findall(r"error_page ([0-9 ]+) /", text)
    statuses = sorted({*map(int, answered.split()), 431})
    assert [line.strip() for line in titles.splitlines() if line.strip()] == [
        f'{status} "{HTTP_STATUS_CODES[status]}";' for status in statuses
    ]


def test_a_uri_that_nginx_lets_through_is_none_that_gunicorn_refuses(client: httpx.Client) -> None:
    for length in (3990, 3999, 4000, 4010):
        for method in ("GET", "OPTIONS", "DELETE"):
            response = client.request(method, "/" + "x" * (length - 1))
            assert_error(response, 404 if length < 4000 else 414)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_a_write_is_never_sent_twice(method: str) -> None:
    """Its connection breaks after it was sent, so nobody knows whether it was done."""
    with (
        closing(Upstream(closes=True)) as one,
        closing(Upstream(closes=True)) as other,
        Nginx([one.port, other.port]) as nginx,
        nginx.client() as client,
    ):
        for _ in range(4):
            response = client.request(method, "/api/x/tasks", json={"title": "t"})
            assert_own_error(response, 502, "The service is not available")
        assert [*one.methods, *other.methods] == [method] * 4
        assert_own_error(client.get("/api/x/tasks"), 502, "The service is not available")
        assert sorted(one.methods + other.methods) == sorted([method] * 4 + ["GET"] * 2)


def test_a_gunicorn_that_is_away_costs_nothing(user: Account, services: list[Service]) -> None:
    """Of three servers two refuse: each request finds the third."""
    with Nginx([free_port(), services[0].port, free_port()]) as nginx, nginx.client() as client:
        user.client = client
        for _ in range(6):
            path = f"/{user.create()['id']}"
            assert user.request("PUT", path, json={"title": "t"}).status_code == 200
            assert user.request("PATCH", f"{path}/complete").status_code == 200
            assert user.request("GET", path).status_code == 200
            assert user.request("DELETE", path).status_code == 204


def test_a_restart_costs_no_request(user: Account, database_url: str, tmp_path: Path) -> None:
    """With taskapi.socket: connections that come meanwhile wait in the socket."""
    statuses: list[int] = []
    stop = threading.Event()

    def write(n: int) -> None:
        while not stop.is_set():
            task = user.request("POST", json={"title": f"{n}"})
            path = f"/{task.json().get('id')}"
            changed = user.request("PUT", path, json={"title": "changed"})
            read = user.request("GET", path)
            deleted = user.request("DELETE", path)
            statuses.extend(r.status_code for r in (task, changed, read, deleted))

    variables = {"DATABASE_URL": database_url, "TRUSTED_PROXIES": "1"}
    with ExitStack() as stack:
        services = []
        for n in range(2):
            service = ActivatedService(tmp_path / f"{n}.log", variables)
            services.append(stack.enter_context(closing(service)))
            service.start()
        ports = [service.port for service in services]
        nginx = stack.enter_context(Nginx(ports, limits=False))
        user.client = stack.enter_context(nginx.client())
        writers = [threading.Thread(target=write, args=[n]) for n in range(4)]
        for writer in writers:
            writer.start()
        try:
            for service in services * 2:
                assert service.stop() == 0
                service.start()
                done = len(statuses)
                wait_until("more requests", lambda done=done: len(statuses) > done + 40)  # type: ignore[misc]
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert statuses == [201, 200, 200, 204] * (len(statuses) // 4)


def test_without_any_gunicorn_it_says_so() -> None:
    with Nginx([free_port(), free_port()]) as nginx, nginx.client() as client:
        for method in ("GET", "POST", "PUT", "DELETE"):
            response = client.request(method, "/api/x/tasks")
            assert_own_error(response, 502, "The service is not available")


def test_a_gunicorn_that_never_answers_is_given_up() -> None:
    """After proxy_read_timeout; the request goes to no other server then."""
    with (
        closing(Upstream(closes=False)) as one,
        closing(Upstream(closes=False)) as other,
        Nginx([one.port, other.port]) as nginx,
        nginx.client() as client,
    ):
        assert_own_error(client.get("/health"), 504, "The service took too long")
        assert one.methods + other.methods == ["GET"]


def test_slow_bodies_take_no_thread(user: Account, nginx: Nginx) -> None:
    """More of them than both gunicorns have threads."""
    head = f"POST {user.tasks} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{"
    with ExitStack() as stack:
        for _ in range(40):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", nginx.port)))
            slow = nginx.tls().wrap_socket(plain, server_hostname="127.0.0.1")
            stack.enter_context(slow).sendall(head.encode())
        for _ in range(20):
            user.create()


def test_a_client_has_so_many_requests_at_the_same_time(user: Account, nginx: Nginx) -> None:
    """Also those that it doesn't go on with. Others aren't concerned."""
    head = f"POST {user.tasks} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{"
    with nginx.client("127.0.0.9") as client, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(nginx, "127.0.0.9")).sendall(head.encode())
        wait_until("the limit", lambda: client.get("/health").status_code == 429)
        answer = client.get(user.tasks, headers=user.headers)
        assert_own_error(answer, 429, "Too many requests: try again later")
        assert user.request("GET").status_code == 200
        stack.close()
        wait_until("an end", lambda: client.get("/health").status_code == 200)


def test_an_office_behind_one_address_is_not_limited(
    nginx: Nginx, database: psycopg.Connection
) -> None:
    """All its users begin to work at the same moment, as fast as they can."""

    def work(user: Account) -> set[int]:
        statuses = set()
        for _ in range(20):
            path = f"/{user.create()['id']}"
            statuses.add(user.request("PUT", path, json={"title": "changed"}).status_code)
            statuses.add(user.request("GET", path).status_code)
        return statuses

    with nginx.client("127.0.0.10") as client, ThreadPoolExecutor(16) as threads:
        users = [Account.insert(client, database) for _ in range(16)]
        assert list(threads.map(work, users)) == [{200}] * 16


def test_slow_readers_take_neither_threads_nor_files(
    user: Account, nginx: Nginx, services: list[Service], database: psycopg.Connection
) -> None:
    """More of them than both gunicorns have threads; each gets its whole answer in the end."""
    database.execute(
        "INSERT INTO tasks (user_id, title, description)"
        " SELECT %s, 'long', repeat('x', 9900) FROM generate_series(1, 300)",
        [user.id],
    )
    answers = ("taskapi_requests_total", "GET", "/api/<user_id>/tasks", "200")

    def count() -> float:
        return sum(read_metrics(service).get(answers, 0) for service in services)

    before = count()
    request = (
        f"GET {user.tasks} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {user.token}\r\n\r\n"
    )
    with ExitStack() as stack:
        readers = [stack.enter_context(connect(nginx)) for _ in range(40)]
        for reader in readers:
            reader.sendall(request.encode())
        wait_until("all answers", lambda: count() == before + 40)
        for _ in range(40):
            assert user.request("GET", "?limit=1").status_code == 200
        assert nginx.temporary_files() == []
        for reader in readers:
            head, _, body = reader.makefile("rb").read().partition(b"\r\n\r\n")
            assert b"\r\nLink: <" in head
            assert 2_000_000 < len(body) < 2**21 + 2**16
            assert len(json.loads(body)) < 300


def test_tls_is_modern_and_http_leads_to_it(nginx: Nginx) -> None:
    for version, alpn in ((ssl.TLSVersion.TLSv1_2, "h2"), (ssl.TLSVersion.TLSv1_3, "http/1.1")):
        context = nginx.tls()
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols([alpn])
        with (
            socket.create_connection(("127.0.0.1", nginx.port)) as plain,
            context.wrap_socket(plain, server_hostname="tasks.example.com") as connection,
        ):
            assert connection.selected_alpn_protocol() == alpn
    old = nginx.tls()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", nginx.port)) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        old.wrap_socket(plain, server_hostname="tasks.example.com")
    response = httpx.post(f"http://127.0.0.1:{nginx.plain_port}/api/x/tasks?limit=1", json={})
    assert response.status_code == 308
    assert response.headers["Location"] == "https://tasks.example.com/api/x/tasks?limit=1"
    assert "Strict-Transport-Security" not in response.headers


def test_nginx_finds_no_fault_in_the_file(nginx: Nginx) -> None:
    assert (nginx.folder / "stderr.log").read_text() == ""
