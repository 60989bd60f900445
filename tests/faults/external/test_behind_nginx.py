"""Behind nginx, as deploy/nginx.conf has it, reloads and restarts cost no request."""

from __future__ import annotations

import random
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from psutil import Process

from tests.faults.load import Load
from tests.faults.report import choose, conclude
from tests.support.accounts import Account
from tests.support.fixtures import MakeService
from tests.support.nginx import Nginx
from tests.support.service import PATIENCE, Service, wait_until
from tests.support.workers import is_alive, reload_workers, workers_of

pytestmark = pytest.mark.long

SLOW_CLIENTS = 200


@pytest.fixture
def services(own_url: str, make_service: MakeService) -> list[Service]:
    services = [make_service(DATABASE_URL=own_url, TRUSTED_PROXIES="1") for _ in range(2)]
    for service in services:
        service.start()
    return services


@pytest.fixture
def nginx(services: list[Service]) -> Iterator[Nginx]:
    with Nginx([service.port for service in services], limits=False) as nginx:
        yield nginx


@pytest.fixture
def load(services: list[Service], nginx: Nginx) -> Load:
    return Load(*services, connect=nginx.client)


def test_reloads(own_url: str, services: list[Service], load: Load) -> None:
    rounds = choose(2, 10)
    with load.running():
        for _ in range(rounds):
            for service in services:
                reload_workers(service)
            load.wait_for_success()
    conclude(load, own_url, "1c. Both gunicorns behind nginx reloaded with HUP", rounds)
    assert not load.failures


def test_a_rolling_restart(own_url: str, services: list[Service], load: Load) -> None:
    rounds = choose(2, 10)
    with load.running():
        for _ in range(rounds):
            for service in services:
                assert service.stop() == 0
                load.wait_for_success()
                service.start()
            load.wait_for_success()
    conclude(load, own_url, "1d. Rolling restart of two gunicorns behind nginx", rounds)
    assert not load.failures


def test_workers_that_are_killed(own_url: str, services: list[Service], load: Load) -> None:
    """What only reads nginx repeats; a write that may have been done it leaves to the client."""
    rounds = choose(3, 20)
    chance = random.Random(rounds)
    with load.running():
        for _ in range(rounds):
            service = chance.choice(services)
            victim = chance.choice(workers_of(service))
            kill_worker(service, victim)
            load.wait_for_success()
    conclude(load, own_url, "1e. gunicorn worker killed with SIGKILL behind nginx", rounds)


def kill_worker(service: Service, victim: Process) -> None:
    victim.kill()
    wait_until("the worker's end", lambda: not is_alive(victim))
    wait_until("a new worker", lambda: len(workers_of(service)) == 2)


@contextmanager
def slow_clients(nginx: Nginx, account: Account, count: int) -> Iterator[list[int]]:
    """Let so many clients send a byte a second; yield how many bytes each has sent.

    Half of them are at the request's header, half at its body. Whom nginx cuts off, as it does when
    a header takes too long, connects anew.
    """
    header = (
        f"POST {account.tasks} HTTP/1.1\r\nHost: tasks.example.com\r\n"
        f"Authorization: Bearer {account.token}\r\nContent-Type: application/json\r\n"
        "Content-Length: 60000\r\nX-Slow: "
    ).encode()
    context = nginx.tls()
    sent = [0] * count
    stopping = threading.Event()

    def connect(number: int) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", nginx.port), timeout=PATIENCE)
        connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        connection.sendall(header + (b"" if number % 2 else b"no\r\n\r\n"))
        return connection

    def drip() -> None:
        while not stopping.wait(1):
            for number in range(count):
                try:
                    connections[number].sendall(b"x")
                    sent[number] += 1
                except OSError:
                    connections[number].close()
                    connections[number] = connect(number)

    connections = [connect(number) for number in range(count)]
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield sent
    finally:
        stopping.set()
        thread.join()
        for connection in connections:
            connection.close()


def test_slow_clients(own_url: str, nginx: Nginx, load: Load) -> None:
    """More of them than gunicorn has threads: others are served as before."""
    seconds = choose(4, 30)
    with load.running():
        before = median_of(load, lambda: time.sleep(seconds))
        with slow_clients(nginx, load.clients[0].account, SLOW_CLIENTS) as sent:
            during = median_of(
                load, lambda: wait_until("bytes", lambda: min(sent) >= seconds, 10 * PATIENCE)
            )
        after = median_of(load, lambda: time.sleep(seconds))
    without = (before + after) / 2
    notes = (
        f"median answer {1000 * before:.1f} ms before, {1000 * during:.1f} ms with them, "
        f"{1000 * after:.1f} ms after: {during / without:.2f} times"
    )
    scenario = f"5. {SLOW_CLIENTS} clients that send a byte a second, behind nginx"
    conclude(load, own_url, scenario, 1, notes)
    assert not load.failures
    # Generous: with gunicorn's threads taken there would be no answer at all.
    assert during < 5 * without


def median_of(load: Load, meanwhile: Callable[[], None]) -> float:
    """Return the median time, in seconds, of the answers of requests that began meanwhile."""
    began = time.monotonic()
    meanwhile()
    load.wait_for_success()
    return statistics.median(e.ended - e.began for e in load.exchanges if e.began > began)
