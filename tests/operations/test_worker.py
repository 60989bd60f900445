"""The worker: how clients and requests come to its threads."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import ExitStack

import psutil
import pytest
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from tests.support.fixtures import MakeService
from tests.support.service import PATIENCE, Service, wait_until
from tests.support.sockets import connect, is_refused
from tests.support.workers import workers_of

LOGIN_WITHOUT_END = (
    b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{"
)
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


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


@pytest.mark.slow
def test_the_workers_share_those_who_connect(make_service: MakeService, database_url: str) -> None:
    service = make_service(DATABASE_URL=database_url)
    service.start()
    with ExitStack() as stack:

        def shares() -> list[int]:
            return [clients_of(worker, service) for worker in workers_of(service)]

        def both_accept() -> bool:
            """Tell whether each has a client; until both are up, one takes all."""
            stack.enter_context(connect(service))
            return len(shares()) == 2 and min(shares()) > 0

        wait_until("both workers to accept", both_accept)
        before = sum(shares())
        clients: list[socket.socket] = []

        def are_accepted() -> bool:
            return sum(shares()) == before + len(clients)

        for _ in range(40):
            clients.append(stack.enter_context(connect(service)))
            wait_until("a worker to accept", are_accepted)
        # On a busy machine the one that leaves a client to the other may have waited in vain.
        assert min(shares()) >= 10


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


def test_a_client_more_than_a_worker_may_have_is_served(
    small_service: Service,
) -> None:
    small_service.variables["GUNICORN_CMD_ARGS"] = "--worker-connections 10"
    small_service.start()
    [worker] = workers_of(small_service)
    with ExitStack() as stack:
        others: list[socket.socket] = []
        while clients_of(worker, small_service) < 10:
            others.append(stack.enter_context(connect(small_service)))
            others[-1].settimeout(PATIENCE)
        last = stack.enter_context(connect(small_service))
        last.sendall(HEALTH)
        for other in others:
            other.close()
        assert read_answers(last, 1).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_who_waits_for_a_thread_is_served_when_the_worker_stops(small_service: Service) -> None:
    small_service.start()
    with ExitStack() as stack:
        busy = [stack.enter_context(connect(small_service)) for _ in range(2)]
        for client in busy:
            client.sendall(LOGIN_WITHOUT_END)
        [worker] = workers_of(small_service)
        # Blocked in reading the rest of the body, each with a thread of its own.
        waiting = stack.enter_context(connect(small_service))
        waiting.sendall(HEALTH)
        wait_until("all to be accepted", lambda: clients_of(worker, small_service) == 3)
        assert small_service.process is not None
        small_service.process.send_signal(signal.SIGTERM)
        wait_until("a refusal", lambda: is_refused(small_service))
        # Longer than the worker keeps those who don't say anything.
        time.sleep(STOP_KEEPALIVE_LINGER + 1)
        for client in busy:
            client.sendall(b"}")
            assert b"422" in client.recv(65536)
        assert read_answers(waiting, 1).startswith(b"HTTP/1.1 200 ")
        assert small_service.process.wait(PATIENCE) == 0


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
        # Half of graceful_timeout, after which gunicorn kills a worker that doesn't end.
        assert small_service.process.wait(15) == 0
