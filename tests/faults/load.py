"""Clients that write and read all the time and note every answer."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Any, NamedTuple

import httpx
import psycopg

from tests.faults.ledger import Effect, Entry, Row, State, Verdict, Write, compare
from tests.support.accounts import Account
from tests.support.feeds import Follower, Readers
from tests.support.service import PATIENCE, Service, wait_until

# What a client may get while something is broken: no answer at all (0), a proxy's or our own
# word for it. Anything else is a defect, of the service or of these clients.
EXCUSED = {0, 502, 503, 504}
# Seconds between two requests of a client: without any, the clients would leave too little of the
# machine to what restarts; and after a failure, for else they would do nothing but be refused.
PACE = 0.01
PAUSE = 0.05


class Exchange(NamedTuple):
    """A request that is over; the times are time.monotonic()'s."""

    began: float
    ended: float
    succeeded: bool


class Client:
    """One user's client: one request after the other, each written down."""

    def __init__(self, account: Account, http: httpx.Client, number: int) -> None:
        self.account = account
        self.http = http
        self.http.headers.update(account.headers)
        self.random = random.Random(number)
        self.entries: list[Entry] = []
        self.exchanges: list[Exchange] = []
        self.failures: Counter[int] = Counter()
        self.keys: dict[Entry, str] = {}
        # Tasks that are there, in a state that is known.
        self.live: list[Entry] = []
        self.stopping = Event()

    def steps(self) -> dict[Callable[[], None], int]:
        """Return what it does, each with its weight."""
        return {
            self.create: 3,
            self.create_with_key: 3,
            self.repeat_with_key: 1,
            self.update: 3,
            self.set_completed: 2,
            self.toggle: 2,
            self.delete: 2,
            self.read: 4,
            self.list: 2,
        }

    def run(self) -> None:
        """Work until told to stop."""
        steps = self.steps()
        while not self.stopping.is_set():
            failed = self.failures.total()
            [step] = self.random.choices(list(steps), list(steps.values()))
            step()
            self.stopping.wait(PACE if self.failures.total() == failed else PAUSE)

    def create(self) -> None:
        entry, body, effect = self._new_task()
        self._send(Write(entry, effect), "POST", "", json=body)

    def create_with_key(self) -> None:
        """Repeat the request until it is answered: exactly one task, however often it was sent."""
        entry, body, effect = self._new_task()
        self.keys[entry] = uuid.uuid4().hex
        headers = {"Idempotency-Key": self.keys[entry]}
        write = Write(entry, effect)
        give_up = time.monotonic() + 2 * PATIENCE
        while not self._send(write, "POST", "", json=body, headers=headers):
            if time.monotonic() > give_up:
                return
            time.sleep(PAUSE)

    def repeat_with_key(self) -> None:
        """Send again what was answered already: the same task, whatever has become of it."""
        if not self.keys:
            return
        entry = self.random.choice(list(self.keys))
        body = {"title": entry.marker, "description": entry.marker, "completed": False}
        headers = {"Idempotency-Key": self.keys[entry]}
        response, _ = self._exchange("POST", "", json=body, headers=headers)
        if response is not None and response.status_code == 201 and entry.id:
            entry.doubled += response.json()["id"] != entry.id

    def update(self) -> None:
        title = uuid.uuid4().hex
        self._write("PUT", "", lambda state: state and State(title, state.completed), title=title)

    def set_completed(self) -> None:
        value = bool(self.random.getrandbits(1))
        self._write(
            "PATCH", "/complete", lambda state: state and State(state.title, value), completed=value
        )

    def toggle(self) -> None:
        """Without a body, so that one that is done twice shows."""
        self._write(
            "PATCH", "/complete", lambda state: state and State(state.title, not state.completed)
        )

    def delete(self) -> None:
        self._write("DELETE", "", lambda _: None)

    def read(self) -> None:
        """Read any task, one of unknown state too."""
        known = [entry for entry in self.entries[-200:] if entry.id]
        if known:
            entry = self.random.choice(known)
            response, _ = self._exchange("GET", f"/{entry.id}", excused=(404,))
            if response is not None and response.status_code in (200, 404):
                found = response.status_code == 200
                entry.saw(state_of(response.json()) if found else None)

    def list(self) -> None:
        self._exchange("GET", "", params={"limit": 20})

    def has_succeeded_since(self, time: float) -> bool:
        """Tell whether a request that began later got what it wanted."""
        return any(e.succeeded and e.began > time for e in self.exchanges[-5:])

    def _new_task(self) -> tuple[Entry, dict[str, Any], Effect]:
        entry = Entry()
        self.entries.append(entry)
        state = State(entry.marker, completed=False)
        body = {"title": entry.marker, "description": entry.marker, "completed": False}
        return entry, body, lambda _: state

    def headers_for(self, _entry: Entry) -> dict[str, str]:
        """Return headers of a write to this task."""
        return {}

    def _write(self, method: str, path: str, effect: Effect, **body: Any) -> None:
        """Change a task whose state is known.

        One of unknown state is left alone: a write without an answer may be done at any later time.
        """
        if not self.live:
            return
        place = self.random.randrange(len(self.live))
        entry = self.live[place]
        keywords: dict[str, Any] = {"headers": self.headers_for(entry)}
        if body:
            keywords["json"] = body
        self._send(Write(entry, effect), method, f"/{entry.id}{path}", **keywords)
        if entry.known is None:
            self.live[place] = self.live[-1]
            self.live.pop()

    def _send(self, write: Write, method: str, path: str, **keywords: Any) -> bool:
        """Send a write and note its outcome; return whether it was answered for good."""
        response, was_sent = self._exchange(method, path, **keywords)
        if response is None and not was_sent:
            write.refused()
            return False
        if response is None or response.status_code >= 500:
            write.unanswered()
            return False
        if response.status_code >= 400:
            write.refused()
        elif response.status_code == 204:
            write.acknowledged(None)
        else:
            task = response.json()
            write.acknowledged(state_of(task), task["updated_at"])
            if response.status_code == 201:
                write.entry.id = task["id"]
                self.live.append(write.entry)
        return True

    def _exchange(
        self, method: str, path: str, *, excused: Container[int] = (), **keywords: Any
    ) -> tuple[httpx.Response | None, bool]:
        """Send a request; return the answer, if there is one, and whether it was sent at all."""
        began = time.monotonic()
        response, was_sent = None, True
        try:
            response = self.http.request(method, self.account.tasks + path, **keywords)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            was_sent = False
        except httpx.TransportError:
            pass
        status = 0 if response is None else response.status_code
        succeeded = 200 <= status < 300 or status in excused
        if not succeeded:
            self.failures[status] += 1
        self.exchanges.append(Exchange(began, time.monotonic(), succeeded))
        return response, was_sent


def state_of(task: dict[str, Any]) -> State:
    """Return what can change of a task, from its JSON."""
    return State(task["title"], task["completed"])


class Load:
    """A number of clients, each with a user of its own or some with one, and what they have seen.

    With `followed`, a reader follows the change feed of each user, which uses the database for this
    user beside the clients (DB_POOL_USER_MAX). At the end its copy must be the list.
    """

    def __init__(
        self,
        *services: Service,
        connect: Callable[[], httpx.Client] | None = None,
        clients: int = 8,
        users: int | None = None,
        followed: bool = False,
        kind: type[Client] = Client,
    ) -> None:
        self.services = services
        connect = connect or services[0].client
        with services[0].client() as client:
            accounts = [Account.sign_up(client) for _ in range(users or clients)]
        self.clients = [
            kind(accounts[number % len(accounts)], connect(), number) for number in range(clients)
        ]
        self.readers = Readers(
            *(
                Follower(Account(connect(), account.id, account.email, account.token))
                for account in accounts
                if followed
            )
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the clients work meanwhile."""
        with ThreadPoolExecutor(len(self.clients)) as threads, self.readers.running():
            for client in self.clients:
                client.stopping.clear()
            futures = [threads.submit(client.run) for client in self.clients]
            try:
                self.wait_for_success()
                yield
            finally:
                for client in self.clients:
                    client.stopping.set()
            for future in futures:
                future.result()

    def wait_for_success(self) -> None:
        """Wait until each client has begun a request and got what it wanted."""
        now = time.monotonic()
        wait_until(
            "success of each client",
            lambda: all(client.has_succeeded_since(now) for client in self.clients),
            2 * PATIENCE,
        )

    def wait_for_failure(self) -> None:
        """Wait until each client has had one more request that failed."""
        before = {client: client.failures.total() for client in self.clients}
        wait_until(
            "a failure of each client",
            lambda: all(client.failures.total() > count for client, count in before.items()),
            2 * PATIENCE,
        )

    @property
    def failures(self) -> Counter[int]:
        """How many requests failed, by their status; 0 is no answer."""
        return sum((client.failures for client in self.clients), Counter())

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def exchanges(self) -> list[Exchange]:
        return [exchange for client in self.clients for exchange in client.exchanges]

    @property
    def longest_outage(self) -> float:
        """The longest time, in seconds, from a client's failed request to its next success."""
        longest = 0.0
        for client in self.clients:
            began = None
            for exchange in client.exchanges:
                if not exchange.succeeded:
                    began = began or exchange.began
                elif began is not None:
                    longest = max(longest, exchange.ended - began)
                    began = None
        return longest

    def settle(self, database_url: str) -> Verdict:
        """Close the clients, stop the services, and compare what they were told with what is there.

        Only when nothing runs any more, for what wasn't answered may still be done.
        """
        with ExitStack() as stack:
            for client in self.clients:
                stack.callback(client.http.close)
            for follower in self.readers.followers:
                stack.callback(follower.user.client.close)
            self.readers.assert_complete()
        for service in self.services:
            service.stop()
        with psycopg.connect(database_url, autocommit=True) as dba:
            wait_until("the last session to end", lambda: not has_sessions(dba))
            rows = dba.execute(
                "SELECT description, title, completed FROM tasks WHERE user_id = ANY(%s::uuid[])",
                [[client.account.id for client in self.clients]],
            ).fetchall()
        entries = [entry for client in self.clients for entry in client.entries]
        return compare(entries, (Row(marker, State(title, done)) for marker, title, done in rows))


def has_sessions(dba: psycopg.Connection) -> bool:
    """Tell whether the service's sessions are there still; those of the killed end by and by."""
    sessions = dba.execute(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'taskapi'"
        " AND datname = current_database() LIMIT 1"
    )
    return sessions.fetchone() is not None
