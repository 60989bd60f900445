"""Ten normal users beside one client or account that misbehaves: what they notice of it."""

from __future__ import annotations

import itertools
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import httpx
import psycopg

from tests.faults.report import HOSTILE, RESULTS, Result
from tests.support.accounts import LOGIN, PASSWORD, Account, log_in, new_email, sign_up
from tests.support.service import Service, wait_until
from tests.support.sockets import connect
from tests.support.workers import memory_of

USERS = 10
# Seconds that a normal user pauses between two requests.
PAUSE = 0.05
# Threads of the abuser, and its address.
ABUSERS = 16
ABUSER = "127.0.2.1"
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


class Door(NamedTuple):
    """The way to the service: HTTP from an address of this machine, and bare connections."""

    client: Callable[[str], httpx.Client]
    connect: Callable[[], socket.socket]


def directly(service: Service) -> Door:
    """Return the way to a gunicorn, as a trusted proxy."""

    def client(address: str) -> httpx.Client:
        client = service.client()
        client.headers["X-Forwarded-For"] = address
        return client

    return Door(client, lambda: connect(service))


class Crowd:
    """Normal users: each creates, lists, reads and deletes, and logs in now and then."""

    def __init__(self, door: Door, database: psycopg.Connection[Any]) -> None:
        self.samples: list[Sample] = []
        self._door = door
        self._ended = threading.Event()
        with door.client("127.0.0.1") as client:
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
        with self._door.client(f"127.0.1.{number + 1}") as client:
            user = Account(client, account.id, account.email, account.token)
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
                if (turn + number) % USERS == 0:  # one after the other
                    self._note(lambda: client.post(LOGIN, json=credentials))

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

    def __init__(self, door: Door, database: psycopg.Connection[Any]) -> None:
        self.door = door
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
            with self.door.client(ABUSER) as client:
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
            with suppress(OSError):
                connection = self._stack.enter_context(self.door.connect())
                connection.sendall(data)

    def user_with_tasks(self, count: int, description: str) -> Account:
        """Return a user of the abuser's, with tasks."""
        with self.door.client(ABUSER) as client:
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
    with abuse.door.client(ABUSER) as client:
        [task] = client.get(user.tasks, headers=user.headers).json()
    path, body = f"{user.tasks}/{task['id']}", {"title": "again"}
    abuse.repeat(lambda client: client.put(path, json=body, headers=user.headers))


def fail_logins(abuse: Abuse) -> None:
    """Logins with wrong passwords, from one address."""
    abuse.repeat(lambda client: log_in(client, new_email(), "wrong"))


def sign_up_often(abuse: Abuse) -> None:
    """Sign-ups."""
    abuse.repeat(lambda client: sign_up(client, new_email()))


def send_nonsense(abuse: Abuse) -> None:
    """Requests that are not HTTP."""

    def send(_: httpx.Client) -> None:
        with suppress(OSError), abuse.door.connect() as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            connection.recv(100)

    abuse.repeat(send)


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
    sign_up_often,
    send_nonsense,
    hold_half_heads,
    hold_half_bodies,
    read_nothing,
]


def measure(
    services: Sequence[Service],
    door: Door,
    database: psycopg.Connection[Any],
    kind: Callable[[Abuse], None],
    seconds: float,
) -> Noticed:
    """Let the users work for so long without the abuse, and for so long beside it.

    Returns when all of them are served again.
    """
    crowd = Crowd(door, database)
    with crowd.at_work():
        time.sleep(1)
        before = sum(map(memory_of, services))
        began = time.monotonic()
        time.sleep(seconds)
        quiet = crowd.since(began)
        with Abuse(door, database).running(kind):
            began = time.monotonic()
            peak = before
            while time.monotonic() < began + seconds:
                peak = max(peak, sum(map(memory_of, services)))
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


def conclude(kind: Callable[[Abuse], None], noticed: Noticed, where: str = "") -> None:
    """Write the row of the table, and fail if users were refused or the workers grew too much."""
    quiet, abused = noticed.p95
    before, peak = noticed.memory
    cells = (
        f"{noticed.requests:,}",
        f"{noticed.failed:.1%}",
        f"{quiet * 1000:.0f} ms",
        f"{abused * 1000:.0f} ms",
        f"{abused / quiet:.1f}",
        f"{before:.0f} MiB",
        f"{peak:.0f} MiB",
    )
    RESULTS[HOSTILE].append(Result((kind.__doc__ or "").rstrip(".") + where, cells))
    assert noticed.failed < 0.01, cells
    assert peak < 2 * before, cells


def _p95(samples: list[Sample]) -> float:
    return statistics.quantiles([sample.seconds for sample in samples], n=20)[18]
