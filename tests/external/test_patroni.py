"""Three nodes of deploy/patroni: the primary changes, dies and loses etcd, and clients write on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.faults.load import Load
from tests.faults.report import LONG, PATRONI, RESULTS, choose, conclude, render, write_page
from tests.support.fixtures import MakeService
from tests.support.patroni import PASSWORD, TIMES, Cluster
from tests.support.roles import set_up_roles
from tests.support.service import migrate, wait_until

pytestmark = pytest.mark.ha


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes with the service's database, set up as an operator does."""
    with Cluster() as cluster:
        with psycopg.connect(cluster.url("postgres", "postgres"), autocommit=True) as dba:
            dba.execute("CREATE DATABASE taskapi")
        set_up_roles(cluster.url("postgres"))
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as dba:
            for role in ("taskapi", "taskapi_owner"):
                dba.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
        migrate(cluster.url("taskapi_owner"))
        set_up_roles(cluster.url("postgres"))
        yield cluster


Fault = Callable[[Load], None]
Observe = Callable[[str, int, Fault], Load]


@pytest.fixture
def observe(
    cluster: Cluster, make_service: MakeService, capsys: pytest.CaptureFixture[str]
) -> Observe:
    """Return a function that causes a fault while clients write, and prints what they saw."""

    def run(scenario: str, rounds: int, fault: Fault) -> Load:
        # Each user's feed is followed, too.
        service = make_service(DATABASE_URL=cluster.url("taskapi"), DB_POOL_USER_MAX="8")
        service.start()
        load = Load(service, clients=4, followed=True)
        back = []
        with load.running():
            for _ in range(rounds):
                began = time.monotonic()
                fault(load)
                load.wait_for_success()
                back.append(time.monotonic() - began)
                cluster.wait_until_whole()
                load.wait_for_success()
        served = f"all clients served at most {max(back):.1f} s after it began"
        notes = served if load.failed else ""
        conclude(load, cluster.url("postgres"), scenario, rounds, notes, table=PATRONI)
        with capsys.disabled():
            print("\n" + render(PATRONI, RESULTS[PATRONI][-1:]))
        if LONG:
            write_page(PATRONI, RESULTS[PATRONI][-1:])
        return load

    return run


def test_a_switchover(cluster: Cluster, observe: Observe) -> None:
    """What maintenance of the primary takes."""

    def fault(_: Load) -> None:
        before = cluster.primary()
        cluster.switch_over()
        assert cluster.primary() is not before

    observe("1. Switchover", choose(1, 3), fault)


def test_a_primary_that_dies(cluster: Cluster, observe: Observe) -> None:
    """With its Patroni and its member of etcd, as when its machine loses power.

    Just before, it writes what no standby gets: nobody may have been told that this was done.
    """

    def fault(load: Load) -> None:
        dead = cluster.primary()
        dead.stop_sending()
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as dba:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' LIMIT 1"
            wait_until("a commit that waits", lambda: dba.execute(waiting).fetchone() is not None)
        dead.kill()
        load.wait_for_failure()
        load.wait_for_success()
        assert cluster.primary() is not dead
        dead.start()

    observe("2. Primary's node killed, and started again later", choose(1, 3), fault)


def test_a_standby_that_dies(cluster: Cluster, observe: Observe) -> None:
    """Commits wait for it until Patroni names the other one."""

    def fault(load: Load) -> None:
        dead = cluster.synchronous_standby()
        dead.kill()
        load.wait_for_success()
        assert cluster.synchronous_standby() is not dead
        dead.start()

    observe("3. Synchronous standby's node killed, and started again later", choose(1, 3), fault)


def test_an_outage_of_etcd(cluster: Cluster, observe: Observe) -> None:
    """With `failsafe_mode` the primary stays, though nobody can renew its lease."""
    primary = cluster.primary()
    timeline = cluster.ask(primary, "/patroni")["timeline"]

    def fault(load: Load) -> None:
        began = time.monotonic()
        for node in cluster.nodes:
            node.kill_etcd()
        try:
            wait_until(
                "Patroni to notice",
                lambda: "failsafe_mode_is_active" in cluster.ask(primary, "/patroni"),
            )
            lease = 2 * TIMES["ttl"]
            wait_until("the end of the lease", lambda: time.monotonic() > began + lease)
            load.wait_for_success()
        finally:
            for node in cluster.nodes:
                node.start_etcd()

    load = observe("4. All of etcd killed, for twice the ttl", 1, fault)
    assert cluster.ask(cluster.primary(), "/patroni")["timeline"] == timeline
    assert not load.failures
