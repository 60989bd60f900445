"""Ten normal users beside one client or account that misbehaves: what they notice of it."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import psycopg

from tests.faults.abuser import UNIQUE, Door, Held, Plan, Request, send
from tests.faults.report import HOSTILE, RESULTS, Result
from tests.support.accounts import LOGIN, PASSWORD, SIGNUP, Account
from tests.support.service import NO_AUTHORITIES, PATIENCE, ROOT, Service, wait_until
from tests.support.workers import memory_of

USERS = 10
# Seconds that a normal user pauses between two requests.
PAUSE = 0.05
# Seconds after the abuse until all users must be served as before.
BACK = 5.0
HEAD = "GET /health HTTP/1.1\r\nHost: localhost\r\n"
BODY = f"POST {LOGIN} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
JSON = {"Content-Type": "application/json"}


class Sample(NamedTuple):
    """A request of a normal user: when it ended, how long it took in seconds, its status."""

    user: int
    at: float
    seconds: float
    status: int

    @property
    def failed(self) -> bool:
        """Whether it was not answered with a success."""
        return not 200 <= self.status < 400


class Noticed(NamedTuple):
    """What normal users noticed of an abuse, and what it took."""

    quiet: list[Sample]
    abused: list[Sample]
    # Seconds from the end of the abuse until all users were served.
    back: float
    # Of the workers, in MiB: at first, and at most.
    memory: tuple[float, float]
    # The abuser's: the statuses of its responses, and its seconds, wall-clock and processor.
    statuses: Counter[int]
    lasted: float
    processor: float


def directly(service: Service) -> Door:
    """Return the way to a gunicorn, as a trusted proxy."""
    return Door(service.port)


class Crowd:
    """Normal users: each creates, lists, reads and deletes, and logs in now and then."""

    def __init__(self, door: Door, database: psycopg.Connection[Any]) -> None:
        self.samples: list[Sample] = []
        self._door = door
        self._ended = threading.Event()
        with httpx.Client(verify=NO_AUTHORITIES) as client:
            self.users = [Account.insert(client, database) for _ in range(USERS)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let the users work while the block runs."""
        with ThreadPoolExecutor(USERS) as threads:
            users = [threads.submit(self._work, user, n) for n, user in enumerate(self.users)]
            try:
                yield
            finally:
                self._ended.set()
            for user in users:
                user.result()

    def since(self, began: float) -> list[Sample]:
        """Return the requests that began and ended after a moment."""
        return [sample for sample in list(self.samples) if sample.at - sample.seconds >= began]

    def wait_until_back(self, ended: float) -> float:
        """Wait until each user is served again, and return how many seconds after a moment."""

        def are_back() -> bool:
            latest = {s.user: s for s in self.since(ended)}
            return len(latest) == USERS and not any(s.failed for s in latest.values())

        wait_until("all to be served again", are_back)
        first = {s.user: s for s in reversed(self.since(ended))}
        failures = [s for s in self.since(ended) if s.failed]
        return max(s.at for s in (*first.values(), *failures)) - ended

    def _work(self, account: Account, number: int) -> None:
        address = f"127.0.1.{number + 1}"
        connection = self._door.connect(address)
        headers = {"X-Forwarded-For": address, **account.headers, **JSON}

        def request(method: str, path: str, body: object = None) -> tuple[int, bytes]:
            data = None if body is None else json.dumps(body)
            began = time.monotonic()
            status, answer = send(connection, method, path, headers, data)
            now = time.monotonic()
            self.samples.append(Sample(number, now, now - began, status))
            self._ended.wait(PAUSE)
            return status, answer

        for turn in itertools.count():
            if self._ended.is_set():
                break
            status, answer = request("POST", account.tasks, {"title": "mine"})
            request("GET", f"{account.tasks}?limit=20")
            if status == 201:
                path = f"{account.tasks}/{json.loads(answer)['id']}"
                request("GET", path)
                request("DELETE", path)
            if (turn + number) % USERS == 0:  # one after the other
                request("POST", LOGIN, {"email": account.email, "password": PASSWORD})
        connection.close()


class Setting(NamedTuple):
    """What a kind of abuse is prepared with."""

    database: psycopg.Connection[Any]

    def user_with_tasks(self, count: int, description: str) -> Account:
        """Return a user of the abuser's, with tasks."""
        with httpx.Client(verify=NO_AUTHORITIES) as client:
            user = Account.insert(client, self.database)
        self.database.execute(
            "INSERT INTO tasks (user_id, title, description)"
            " SELECT %s, n::text, %s FROM generate_series(1, %s) AS n",
            [user.id, description, count],
        )
        return user


Kind = Callable[[Setting], Plan]


def search(setting: Setting) -> Plan:
    """Searches without a hit in 20,000 long tasks."""
    user = setting.user_with_tasks(20_000, "some words " * 300)
    return Plan(Request("GET", f"{user.tasks}?q=zzz", user.headers))


def list_large_tasks(setting: Setting) -> Plan:
    """Lists of tasks that grow six times in JSON."""
    user = setting.user_with_tasks(1000, "\x01" * 10_000)
    return Plan(Request("GET", user.tasks, user.headers))


def write_one_task(setting: Setting) -> Plan:
    """Changes of one task, which wait for each other."""
    user = setting.user_with_tasks(1, "")
    [(id,)] = setting.database.execute("SELECT id FROM tasks WHERE user_id = %s", [user.id])
    path = f"{user.tasks}/{id}"
    return Plan(Request("PUT", path, user.headers | JSON, '{"title": "again"}'))


def fail_logins(_: Setting) -> Plan:
    """Logins with wrong passwords, from one address."""
    body = f'{{"email": "{UNIQUE}@example.com", "password": "wrong"}}'
    return Plan(Request("POST", LOGIN, JSON, body))


def sign_up_often(_: Setting) -> Plan:
    """Sign-ups."""
    body = f'{{"email": "{UNIQUE}@example.com", "password": "{PASSWORD}"}}'
    return Plan(Request("POST", SIGNUP, JSON, body))


def send_nonsense(_: Setting) -> Plan:
    """Requests that are not HTTP."""
    return Plan(raw="nonsense\r\n\r\n")


def hold_half_heads(_: Setting) -> Plan:
    """Half-sent requests."""
    return Plan(held=(Held(200, HEAD),))


def hold_half_bodies(_: Setting) -> Plan:
    """Bodies that do not end."""
    huge = "Content-Length: 99999999999999999999\r\n\r\n{"
    return Plan(held=(Held(100, f"{BODY}Content-Length: 100\r\n\r\n{{"), Held(100, BODY + huge)))


def read_nothing(setting: Setting) -> Plan:
    """Lists of two MiB that are not read."""
    user = setting.user_with_tasks(100, "\x01" * 10_000)
    head = f"GET {user.tasks} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n\r\n"
    return Plan(held=(Held(100, head),))


KINDS: list[Kind] = [
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


@contextmanager
def abusing(door: Door, plan: Plan) -> Iterator[dict[str, Any]]:
    """Let a process misbehave while the block runs. Then it tells how it went."""
    told: dict[str, Any] = {}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.abuser"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        print(json.dumps({"door": door, "plan": plan}), file=process.stdin, flush=True)
        assert process.stdout.readline() == "ready\n"
        yield told
        told |= json.loads(process.communicate(timeout=PATIENCE)[0])
    finally:
        process.kill()
        process.wait()


def measure(
    services: Sequence[Service],
    door: Door,
    database: psycopg.Connection[Any],
    kind: Kind,
    seconds: float,
    rounds: int = 1,
) -> Noticed:
    """Let the users work for so long without the abuse, and for so long beside it, in turns."""
    plan = kind(Setting(database))
    database.execute("VACUUM ANALYZE tasks")
    crowd = Crowd(door, database)
    statuses: Counter[int] = Counter()
    quiet: list[Sample] = []
    abused: list[Sample] = []
    back, processor = 0.0, 0.0
    before = peak = 0.0

    def watch() -> None:
        nonlocal peak
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.5)
            peak = max(peak, sum(map(memory_of, services)))

    with crowd.at_work():
        time.sleep(1)
        before = sum(map(memory_of, services))
        for _ in range(rounds):
            began = time.monotonic()
            watch()
            quiet += crowd.since(began)
            with abusing(door, plan) as told:
                began = time.monotonic()
                watch()
                abused += crowd.since(began)
                ended = time.monotonic()
            statuses.update({int(status): count for status, count in told["statuses"].items()})
            processor += told["seconds"]
            back = max(back, crowd.wait_until_back(ended))
            time.sleep(0.5)
    return Noticed(
        quiet, abused, back, (before, peak), statuses, seconds * rounds, processor
    )


def conclude(kind: Kind, noticed: Noticed, where: str = "") -> None:
    """Write the row of the table, and fail if users were refused or the workers grew too much."""
    quiet, abused = p95(noticed.quiet), p95(noticed.abused)
    before, peak = noticed.memory
    failed = sum(sample.failed for sample in noticed.abused) / len(noticed.abused)
    sent = noticed.statuses.total()
    refused = sum(count for status, count in noticed.statuses.items() if status not in range(200, 400))
    cells = (
        f"{sent / noticed.lasted:,.0f}" if sent else "",
        f"{refused / sent:.0%}" if sent else "",
        f"{len(noticed.abused):,}",
        f"{failed:.1%}",
        f"{quiet * 1000:.0f} ms",
        f"{abused * 1000:.0f} ms",
        f"{abused / quiet:.1f}",
        f"{noticed.back:.1f} s",
        f"{before:.0f} MiB",
        f"{peak:.0f} MiB",
    )
    RESULTS[HOSTILE].append(Result((kind.__doc__ or "").rstrip(".") + where, cells))
    assert failed < 0.01, cells
    assert noticed.back < BACK, cells
    assert peak < 2 * before, cells


def p95(samples: Sequence[Sample]) -> float:
    """Return the 95th percentile in seconds."""
    return statistics.quantiles([sample.seconds for sample in samples], n=20)[18]
