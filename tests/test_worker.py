"""The worker: how clients and requests come to its threads."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack

import psutil
import pytest

from tests.conftest import MakeService
from tests.faults.workers import workers_of
from tests.service import PATIENCE, Service, wait_until

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), PATIENCE)


def clients_of(worker: psutil.Process, service: Service) -> int:
    connections = worker.net_connections("tcp")
    return sum(
        connection.laddr.port == service.port and connection.status == psutil.CONN_ESTABLISHED
        for connection in connections
    )


def read_answers(client: socket.socket, count: int) -> bytes:
    """Read until there are so many answers of /health; fewer if the service closes before."""
    received = b""
    while received.count(b'{"status":"ok"}') < count and (piece := client.recv(65536)):
        received += piece
    return received


@pytest.fixture
def slow_service(make_service: MakeService, database_url: str) -> Service:
    """A service of one worker with two threads."""
    return make_service(DATABASE_URL=database_url, WEB_CONCURRENCY="1", WEB_THREADS="2")


def test_who_connects_at_once_is_shared_by_the_workers(
    make_service: MakeService, database_url: str
) -> None:
    service = make_service(DATABASE_URL=database_url)
    service.start()
    with ExitStack() as stack:

        def are_ready() -> bool:
            """Tell whether both have started their threads, which they do last."""
            return sum(worker.num_threads() > 8 for worker in workers_of(service)) == 2

        wait_until("both workers", are_ready)
        for _ in range(40):
            stack.enter_context(connect(service))

        def shares() -> list[int]:
            return [clients_of(worker, service) for worker in workers_of(service)]

        wait_until("all to be accepted", lambda: sum(shares()) == 40)
        assert min(shares()) >= 10


def test_who_says_nothing_keeps_no_thread(slow_service: Service) -> None:
    slow_service.start()
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(slow_service)) for _ in range(20)]
        client = stack.enter_context(connect(slow_service))
        client.sendall(HEALTH)
        assert read_answers(client, 1).startswith(b"HTTP/1.1 200 ")
        for other in silent:
            other.sendall(HEALTH)
        for other in silent:
            assert read_answers(other, 1).startswith(b"HTTP/1.1 200 ")


def test_requests_sent_together_are_answered_in_their_order(slow_service: Service) -> None:
    slow_service.start()
    with connect(slow_service) as client:
        client.sendall(HEALTH.replace(b"Host", b"X-Request-ID: first\r\nHost") + HEALTH * 2)
        answers = read_answers(client, 3)
        assert answers.count(b"HTTP/1.1 200 ") == 3
        assert answers.index(b"X-Request-ID: first") < answers.index(b'{"status":"ok"}')
        client.sendall(HEALTH)
        assert read_answers(client, 1).startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_is_closed_in_the_end(slow_service: Service) -> None:
    slow_service.variables["GUNICORN_CMD_ARGS"] = "--keep-alive 1"
    slow_service.start()
    with connect(slow_service) as client, connect(slow_service) as silent:
        client.sendall(HEALTH)
        assert read_answers(client, 1).startswith(b"HTTP/1.1 200 ")
        assert client.recv(1) == b""
        assert silent.recv(1) == b""


def test_a_worker_that_has_served_enough_is_replaced(slow_service: Service) -> None:
    slow_service.variables["GUNICORN_CMD_ARGS"] = "--max-requests 5 --max-requests-jitter 0"
    slow_service.start()
    [old] = workers_of(slow_service)
    with slow_service.client() as client:

        def is_replaced() -> bool:
            assert client.get("/health").status_code == 200
            return old not in workers_of(slow_service)

        wait_until("another worker", is_replaced)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_it_ends_while_clients_are_connected(slow_service: Service, number: signal.Signals) -> None:
    slow_service.start()
    with connect(slow_service) as client, connect(slow_service):
        client.sendall(HEALTH)
        assert read_answers(client, 1).startswith(b"HTTP/1.1 200 ")
        assert slow_service.process is not None
        slow_service.process.send_signal(number)
        assert slow_service.process.wait(PATIENCE) == 0
