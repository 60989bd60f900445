"""Ten normal users beside one client or account that misbehaves: what they notice of it."""

from __future__ import annotations

import itertools
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import httpx
import psycopg

from tests.support.accounts import LOGIN, PASSWORD, Account, new_email
from tests.support.service import PATIENCE, Service, wait_until
from tests.support.workers import memory_of

USERS = 10
# Seconds that a normal user pauses between two requests.
PAUSE = 0.05
ABUSERS = 16
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Sample(NamedTuple):
    """A request of a normal user: when it ended, how long it took in seconds, whether it failed."""

    at: float
    seconds: float
    failed: bool


class Noticed(NamedTuple):
    """What normal users noticed of an abuse, and what it took of memory in MiB."""

    requests: int
    failed: float
    p95: tuple[float, float]
    memory: tuple[float, float]


class Crowd:
    """Normal users: each lists, creates, reads, toggles, deletes, and logs in now and then."""

    def __init__(self, service: Service, database: psycopg.Connection[Any]) -> None:
        self.samples: list[Sample] = []
        self._service = service
        self._ended = threading.Event()
        with service.client() as client:
            self._users = [Account.insert(client, database) for _ in range(USERS)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let the users work while the block runs."""
        with ThreadPoolExecutor(USERS) as threads:
            users = [threads.submit(self._work, user, n) for n, user in enumerate(self._users)]
            try:
                yield
            finally:
                self._ended.set()
            for user in users:
                user.result()

    def since(self, began: float) -> list[Sample]:
        """Return the requests that began and ended after a moment."""
        return [sample for sample in list(self.samples) if sample.at - sample.seconds >= began]

    def _work(self, account: Account, number: int) -> None:
        address = {"X-Forwarded-For": f"198.51.100.{number + 1}"}
        with self._service.client() as client:
            user = Account(client, account.id, account.email, account.token)
            user.headers |= address
            credentials = {"email": user.email, "password": PASSWORD}
            for turn in itertools.count():
                if self._ended.is_set():
                    return
                created = self._note(lambda: user.request("POST", json={"title": "mine"}))
                self._note(lambda: user.request("GET", "?limit=20"))
                if created is not None and created.status_code == 201:
                    path = f"/{created.json()['id']}"
                    self._note(lambda path=path: user.request("GET", path))  # type: ignore[misc]
                    self._note(lambda path=path: user.request("DELETE", path))  # type: ignore[misc]
                if turn % 10 == 0:
                    self._note(lambda: client.post(LOGIN, json=credentials, headers=address))

    def _note(self, send: Callable[[], httpx.Response]) -> httpx.Response | None:
        began = time.monotonic()
        response = None
        with suppress(httpx.TransportError):
            response = send()
        now = time.monotonic()
        failed = response is None or response.status_code >= 400
        self.samples.append(Sample(now, now - began, failed))
        self._ended.wait(PAUSE)
        return response


class Abuse:
    """Requests that are sent as fast as they are answered, until the end of the block."""

    def __init__(self, service: Service, database: psycopg.Connection[Any]) -> None:
        self.service = service
        self.database = database
        self._stack = ExitStack()
        self._ended = threading.Event()

    @contextmanager
    def running(self, kind: Callable[[Abuse], None]) -> Iterator[None]:
        """Misbehave while the block runs."""
        with self._stack:
            kind(self)
            try:
                yield
            finally:
                self._ended.set()

    def repeat(self, send: Callable[[httpx.Client], object]) -> None:
        """Send requests from many threads at once."""

        def run() -> None:
            with self.service.client() as client:
                while not self._ended.is_set():
                    with suppress(httpx.TransportError):
                        send(client)

        threads = [threading.Thread(target=run) for _ in range(ABUSERS)]
        for thread in threads:
            thread.start()
            self._stack.callback(thread.join)

    def hold(self, count: int, data: bytes) -> None:
        """Keep connections open that have sent some bytes."""
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", self.service.port), PATIENCE)
            self._stack.enter_context(connection)
            with suppress(OSError):
                connection.sendall(data)

    def user_with_tasks(self, count: int, description: str) -> Account:
        """Return a user of the abuser's, with tasks."""
        with self.service.client() as client:
            user = Account.insert(client, self.database)
        self.database.execute(
            "INSERT INTO tasks (user_id, title, description)"
            " SELECT %s, n::text, %s FROM generate_series(1, %s) AS n",
            [user.id, description, count],
        )
        return user


def search(abuse: Abuse) -> None:
    """Searches without a hit in 20,000 long tasks."""
    user = abuse.user_with_tasks(20_000, "some words " * 300)
    abuse.repeat(lambda client: client.get(f"{user.tasks}?q=zzz", headers=user.headers))


def list_large_tasks(abuse: Abuse) -> None:
    """Lists of tasks that grow six times in JSON."""
    user = abuse.user_with_tasks(1000, "\x01" * 10_000)
    abuse.repeat(lambda client: client.get(user.tasks, headers=user.headers))


def write_one_task(abuse: Abuse) -> None:
    """Changes of one task, which wait for each other."""
    user = abuse.user_with_tasks(1, "")
    with abuse.service.client() as client:
        [task] = client.get(user.tasks, headers=user.headers).json()
    path, body = f"{user.tasks}/{task['id']}", {"title": "again"}
    abuse.repeat(lambda client: client.put(path, json=body, headers=user.headers))


def fail_logins(abuse: Abuse) -> None:
    """Logins with wrong passwords, from one address."""
    address = {"X-Forwarded-For": "203.0.113.1"}
    abuse.repeat(
        lambda client: client.post(
            LOGIN, json={"email": new_email(), "password": "wrong"}, headers=address
        )
    )


def hold_half_heads(abuse: Abuse) -> None:
    """Half-sent requests."""
    abuse.hold(200, HEAD)


def hold_half_bodies(abuse: Abuse) -> None:
    """Bodies that do not end."""
    abuse.hold(100, BODY + b"Content-Length: 100\r\n\r\n{")
    abuse.hold(100, BODY + b"Content-Length: 99999999999999999999\r\n\r\n{")


def read_nothing(abuse: Abuse) -> None:
    """Lists of two MiB that are not read."""
    user = abuse.user_with_tasks(100, "\x01" * 10_000)
    head = f"GET {user.tasks} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n\r\n"
    abuse.hold(100, head.encode())


KINDS = [
    search,
    list_large_tasks,
    write_one_task,
    fail_logins,
    hold_half_heads,
    hold_half_bodies,
    read_nothing,
]


def measure(
    service: Service,
    database: psycopg.Connection[Any],
    kind: Callable[[Abuse], None],
    seconds: float,
) -> Noticed:
    """Let the users work for so long without the abuse, and for so long beside it.

    Returns when all of them are served again.
    """
    crowd = Crowd(service, database)
    with crowd.at_work():
        time.sleep(1)
        before = memory_of(service)
        began = time.monotonic()
        time.sleep(seconds)
        quiet = crowd.since(began)
        with Abuse(service, database).running(kind):
            began = time.monotonic()
            peak = before
            while time.monotonic() < began + seconds:
                peak = max(peak, memory_of(service))
                time.sleep(0.2)
            abused = crowd.since(began)
        ended = time.monotonic()
        wait_until("all to be served again", lambda: len(crowd.since(ended)) > 10 * USERS)
        assert not any(sample.failed for sample in crowd.since(ended)[-USERS:])
    return Noticed(
        len(abused),
        sum(sample.failed for sample in abused) / len(abused),
        (_p95(quiet), _p95(abused)),
        (before, peak),
    )


def _p95(samples: list[Sample]) -> float:
    return statistics.quantiles([sample.seconds for sample in samples], n=20)[18]
