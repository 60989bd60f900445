"""Two offline clients edit, lose requests and responses, start again, and end with the same copy.

Hypothesis chooses what happens, against a real service.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.support.accounts import Account
from tests.support.feeds import read_list
from tests.support.fixtures import MakeService
from tests.support.replicas import FAULTS, Replica, assert_same
from tests.support.service import NO_AUTHORITIES

WHO = st.integers(0, 1)
WHICH = st.integers(0, 2)
TEXTS = ("title", "description")
WHAT = st.sampled_from([*TEXTS, "completed", "deleted"])
# None is a deletion.
Edit = tuple[str, str, str | None]


class Replicas(RuleBasedStateMachine):
    """What the two clients do.

    Each text is new, so that it is known which edit it comes from. An edit whose text a later edit
    has replaced, by a client that showed it, is not lost.
    """

    client: httpx.Client
    inner: httpx.BaseTransport
    database: psycopg.Connection[Any]

    def __init__(self) -> None:
        super().__init__()
        self.user = Account.insert(self.client, self.database)
        self.folder = tempfile.TemporaryDirectory(prefix="taskapi-replicas-")
        self.replicas: list[Replica] = []
        for who in (0, 1):
            self.replicas.append(self.start(who))
        self.numbers = itertools.count()
        self.ids: set[str] = set()
        self.edits: set[Edit] = set()
        self.replaced: set[Edit] = set()

    def start(self, who: int) -> Replica:
        replica = Replica(self.user, self.inner, Path(self.folder.name) / f"{who}.json")

        def overtake() -> None:
            """Let the other client sync, which may have started again since."""
            self.replicas[1 - who].sync_with()

        replica.transport.overtake = overtake
        return replica

    def new_text(self) -> str:
        return f"text {next(self.numbers)}"

    def choose(self, who: int, which: int) -> str | None:
        """Return one of the tasks that a client shows; the first ones are the same for both."""
        shown = [id for id in sorted(self.ids) if id in self.replicas[who].state.tasks]
        return shown[which % len(shown)] if shown else None

    @initialize()
    def share_tasks(self) -> None:
        self.create(0)
        self.create(0)
        for replica in self.replicas:
            replica.sync()

    @rule(who=WHO)
    def create(self, who: int) -> None:
        texts = {name: self.new_text() for name in TEXTS}
        id = self.replicas[who].create(**texts)
        self.ids.add(id)
        self.edits |= {(id, name, text) for name, text in texts.items()}

    @rule(who=WHO, which=WHICH, what=WHAT)
    def edit(self, who: int, which: int, what: str) -> None:
        if id := self.choose(who, which):
            self.edit_task(who, id, what)

    @rule(which=WHICH, whats=st.tuples(WHAT, WHAT))
    def edit_the_same_task(self, which: int, whats: tuple[str, str]) -> None:
        if id := self.choose(0, which):
            for who, what in enumerate(whats):
                if id in self.replicas[who].state.tasks:
                    self.edit_task(who, id, what)

    def edit_task(self, who: int, id: str, what: str) -> None:
        replica = self.replicas[who]
        task = replica.state.tasks[id]
        if what == "deleted":
            self.replaced |= {(id, name, task[name]) for name in TEXTS}
            replica.delete(id)
            self.edits.add((id, what, None))
        elif what == "completed":
            replica.update(id, completed=not task["completed"])
        else:
            self.replaced.add((id, what, task[what]))
            text = self.new_text()
            replica.update(id, **{what: text})
            self.edits.add((id, what, text))

    @rule(who=WHO)
    def sync(self, who: int) -> None:
        assert self.replicas[who].sync_with()

    @rule(who=WHO, faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=5))
    def sync_badly(self, who: int, faults: list[str]) -> None:
        self.replicas[who].sync_with(*faults)

    @rule(who=WHO)
    def sync_both_at_once(self, who: int) -> None:
        assert self.replicas[who].sync_with("none", "overtaken", "none", "overtaken")

    @rule(who=WHO)
    def lose_the_response_of_a_batch(self, who: int) -> None:
        self.replicas[who].sync_with("none", "lost")

    @rule(who=WHO)
    def start_again(self, who: int) -> None:
        self.replicas[who] = self.start(who)

    @rule()
    def forget_tokens(self) -> None:
        """As `reset-feeds` does: the next pull of each client gets 410."""
        self.database.execute("UPDATE feed_epoch SET epoch = gen_random_uuid()")

    def teardown(self) -> None:
        with self.folder:
            one, two = self.replicas
            for replica in (one, two, one):
                assert replica.sync_with()
            assert_same(self.user, one, two)
            tasks = read_list(self.user)
            assert set(tasks) <= self.ids
            reported = set(self.read_conflicts())
            there = {(id, name, task[name]) for id, task in tasks.items() for name in TEXTS}
            gone = {(id, "deleted", None) for id in self.ids - set(tasks)}
            lost = self.edits - there - gone - self.replaced - reported
            assert not lost
            assert len(there) == len({text for _, _, text in there})

    def read_conflicts(self) -> Iterator[Edit]:
        """Yield the edits that a client has reported as lost."""
        for replica in self.replicas:
            for conflict in replica.state.conflicts:
                id, mine, theirs = (conflict[name] for name in ("id", "mine", "theirs"))
                if mine and theirs:
                    yield from ((id, name, text) for name, text in theirs.items())
                else:
                    yield id, "deleted", None


def run_replicas(make_service: MakeService, url: str, examples: int, steps: int) -> None:
    service = make_service(DATABASE_URL=url)
    service.start()
    with (
        service.client() as client,
        httpx.HTTPTransport(verify=NO_AUTHORITIES) as inner,
        psycopg.connect(url, autocommit=True) as database,
    ):
        shared = {"client": client, "inner": inner, "database": database}
        run_state_machine_as_test(
            type("SharedReplicas", (Replicas,), shared),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_two_replicas_converge_and_lose_no_edit(make_service: MakeService, own_url: str) -> None:
    run_replicas(make_service, own_url, examples=40, steps=20)


@pytest.mark.long
def test_two_replicas_converge_after_long_histories(
    make_service: MakeService, own_url: str
) -> None:
    run_replicas(make_service, own_url, examples=300, steps=50)
