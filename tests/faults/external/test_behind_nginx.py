"""Behind nginx, as deploy/nginx.conf has it, reloads and restarts cost no request."""

from __future__ import annotations

import random
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psutil import Process

from tests.accounts import Account
from tests.conftest import MakeDatabase, MakeService
from tests.external.nginx import Nginx
from tests.faults.load import Load
from tests.faults.report import choose, conclude
from tests.faults.workers import is_alive, reload_workers, workers_of
from tests.service import Service, migrate, wait_until

SLOW_CLIENTS = 200


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    url = make_database()
    migrate(url)
    return url


@pytest.fixture
def services(url: str, make_service: MakeService) -> list[Service]:
    services = [make_service(DATABASE_URL=url, TRUSTED_PROXIES="1") for _ in range(2)]
    for service in services:
        service.start()
    return services


@pytest.fixture
def nginx(services: list[Service]) -> Iterator[Nginx]:
    with Nginx([service.port for service in services]) as nginx:
        yield nginx


@pytest.fixture
def load(services: list[Service], nginx: Nginx) -> Load:
    return Load(*services, connect=nginx.client)


def test_reloads(url: str, services: list[Service], load: Load) -> None:
    rounds = choose(2, 10)
    with load.running():
        for _ in range(rounds):
            for service in services:
                reload_workers(service)
            load.wait_for_success()
    conclude(load, url, "1c. Both gunicorns behind nginx reloaded with HUP", rounds)
    assert not load.failures


def test_a_rolling_restart(url: str, services: list[Service], load: Load) -> None:
    rounds = choose(2, 10)
    with load.running():
        for _ in range(rounds):
            for service in services:
                assert service.stop() == 0
                load.wait_for_success()
                service.start()
            load.wait_for_success()
    conclude(load, url, "1d. Rolling restart of two gunicorns behind nginx", rounds)
    assert not load.failures


def test_workers_that_are_killed(url: str, services: list[Service], load: Load) -> None:
    """What only reads nginx repeats; a write that may have been done it leaves to the client."""
    rounds = choose(3, 20)
    chance = random.Random(rounds)
    with load.running():
        for _ in range(rounds):
            service = chance.choice(services)
            victim = chance.choice(workers_of(service))
            kill_worker(service, victim)
            load.wait_for_success()
    conclude(load, url, "1e. gunicorn worker killed with SIGKILL behind nginx", rounds)


def kill_worker(service: Service, victim: Process) -> None:
    victim.kill()
    wait_until("the worker's end", lambda: not is_alive(victim))
    wait_until("a new worker", lambda: len(workers_of(service)) == 2)


@contextmanager
def slow_clients(nginx: Nginx, account: Account, count: int) -> Iterator[list[int]]:
    """Let so many clients send a request's body, a byte a second; yield how many bytes each sent.

    Half of them have said all of their header, half haven't.
    """
    head = (
        f"POST {account.tasks} HTTP/1.1\r\nHost: tasks.example.com\r\n"
        f"Authorization: Bearer {account.token}\r\nContent-Type: application/json\r\n"
        "Content-Length: 60000\r\n\r\n"
    ).encode()
    context = nginx.tls()
    sent = [0] * count
    stopping = threading.Event()
    connections: list[ssl.SSLSocket] = []

    def drip() -> None:
        while not stopping.wait(1):
            for number, connection in enumerate(connections):
                rest = head[-20:] if number % 2 else b""
                at = sent[number]
                connection.sendall(rest[at : at + 1] or b" ")
                sent[number] += 1

    try:
        for number in range(count):
            plain = socket.create_connection(("127.0.0.1", nginx.port), timeout=60)
            connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
            connections.append(connection)
            connection.sendall(head[:-20] if number % 2 else head)
        thread = threading.Thread(target=drip)
        thread.start()
        yield sent
    finally:
        stopping.set()
        thread.join()
        for connection in connections:
            connection.close()


def test_slow_clients(url: str, services: list[Service], nginx: Nginx, load: Load) -> None:
    """More of them than gunicorn has threads: others are served as before."""
    seconds = choose(4, 30)
    account = load.clients[0].account
    medians = []
    with load.running():
        medians.append(median_of(load, seconds))
        with slow_clients(nginx, account, SLOW_CLIENTS) as sent:
            wait_until("a byte of each", lambda: min(sent) > 0)
            medians.append(median_of(load, seconds))
            assert min(sent) >= seconds - 1
        medians.append(median_of(load, seconds))
    without = (medians[0] + medians[2]) / 2
    ratio = medians[1] / without
    notes = (
        f"median answer {1000 * without:.1f} ms without them (mean of before and after), "
        f"{1000 * medians[1]:.1f} ms with them: {ratio:.2f} times"
    )
    conclude(
        load, url, f"5. {SLOW_CLIENTS} clients that send a byte a second, behind nginx", 1, notes
    )
    assert not load.failures
    # Generous: with gunicorn's threads taken there would be no answer at all.
    assert ratio < 5


def median_of(load: Load, seconds: float) -> float:
    """Return the median time of the answers of so many seconds from now on, in seconds."""
    began = time.monotonic()
    time.sleep(seconds)
    load.wait_for_success()
    return statistics.median(e.ended - e.began for e in load.exchanges if e.began > began)
