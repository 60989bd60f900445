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
def small_service(make_service: MakeService, database_url: str) -> Service:
    """A service of one worker with two threads."""
    return make_service(DATABASE_URL=database_url, WEB_CONCURRENCY="1", WEB_THREADS="2")


def test_the_workers_share_those_who_connect(make_service: MakeService, database_url: str) -> None:
    service = make_service(DATABASE_URL=database_url)
    service.start()
    with ExitStack() as stack:

        def are_ready() -> bool:
            """Tell whether both have started their threads, which they do last."""
            return sum(worker.num_threads() > 8 for worker in workers_of(service)) == 2

        def shares() -> list[int]:
            return [clients_of(worker, service) for worker in workers_of(service)]

        def are_accepted() -> bool:
            return sum(shares()) == len(clients)

        clients: list[socket.socket] = []
        wait_until("both workers", are_ready)
        for _ in range(20):
            clients.append(stack.enter_context(connect(service)))
            wait_until("a worker to accept", are_accepted)
        # On a busy machine the one that leaves a client to the other may have waited in vain.
        assert min(shares()) >= 5


def test_who_says_nothing_keeps_no_thread(small_service: Service) -> None:
    small_service.start()
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(small_service)) for _ in range(20)]
        client = stack.enter_context(connect(small_service))
        client.sendall(HEALTH)
        assert read_answers(client, 1).startswith(b"HTTP/1.1 200 ")
        for other in silent:
            other.sendall(HEALTH)
        for other in silent:
            assert read_answers(other, 1).startswith(b"HTTP/1.1 200 ")


def test_requests_sent_together_are_answered_in_their_order(small_service: Service) -> None:
    small_service.start()
    with connect(small_service) as client:
        client.sendall(HEALTH.replace(b"Host", b"X-Request-ID: first\r\nHost") + HEALTH * 2)
        answers = read_answers(client, 3)
        assert answers.count(b"HTTP/1.1 200 ") == 3
        assert answers.index(b"X-Request-ID: first") < answers.index(b'{"status":"ok"}')
        client.sendall(HEALTH)
        assert read_answers(client, 1).startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_is_closed_in_the_end(small_service: Service) -> None:
    small_service.variables["GUNICORN_CMD_ARGS"] = "--keep-alive 1"
    small_service.start()
    with connect(small_service) as client, connect(small_service) as silent:
        client.sendall(HEALTH)
        assert read_answers(client, 1).startswith(b"HTTP/1.1 200 ")
        assert client.recv(1) == b""
        assert silent.recv(1) == b""


def test_a_worker_that_has_served_enough_is_replaced(small_service: Service) -> None:
    small_service.variables["GUNICORN_CMD_ARGS"] = "--max-requests 5 --max-requests-jitter 0"
    small_service.start()
    [old] = workers_of(small_service)
    with small_service.client() as client:

        def is_replaced() -> bool:
            assert client.get("/health").status_code == 200
            return old not in workers_of(small_service)

        wait_until("another worker", is_replaced)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_it_ends_while_clients_are_connected(
    small_service: Service, number: signal.Signals
) -> None:
    small_service.start()
    with connect(small_service) as client, connect(small_service):
        client.sendall(HEALTH)
        assert read_answers(client, 1).startswith(b"HTTP/1.1 200 ")
        assert small_service.process is not None
        small_service.process.send_signal(number)
        assert small_service.process.wait(PATIENCE) == 0
