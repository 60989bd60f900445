"""METRICS_BIND: where /metrics is served, and what its clients can't do to it."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.metrics import get_metrics
from tests.support.service import PATIENCE, SECRET, Service, run_command, wait_until


@pytest.fixture
def own_service(own_url: str, make_service: MakeService) -> Service:
    service = make_service(DATABASE_URL=own_url)
    service.start()
    return service


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.metrics_url)
    return socket.create_connection((address.hostname, address.port), PATIENCE)


def ask(service: Service, head: bytes) -> bytes:
    """Return the status line of the answer to a request."""
    with connect(service) as client:
        client.sendall(head)
        return client.makefile("rb").readline()


def test_the_public_port_has_no_metrics(client: httpx.Client) -> None:
    for path in ("/metrics", "/metrics/"):
        assert_error(client.get(path), 404, "Not found")


def test_it_is_off_by_default(own_url: str, make_service: MakeService) -> None:
    service = make_service(DATABASE_URL=own_url, METRICS_BIND="")
    service.start()
    with service.client() as client:
        assert_error(client.get("/metrics"), 404, "Not found")
    assert service.process is not None
    [listener] = [
        connection.laddr
        for connection in psutil.Process(service.process.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listener == ("127.0.0.1", service.port)


def test_it_has_nothing_else(service: Service) -> None:
    for head in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /metrics/ HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"x" * 8192,
    ):
        assert ask(service, head) == b"HTTP/1.1 404 Not Found\r\n", head
    response = httpx.get(f"{service.metrics_url}/health")
    assert response.json() == {"detail": "Not found"}
    assert response.headers["Content-Type"] == "application/json"
    assert ask(service, b"GET /metrics?x=1 HTTP/1.1\r\n\r\n") == b"HTTP/1.1 200 OK\r\n"


def test_half_sent_requests_keep_nobody_out(service: Service) -> None:
    """Each of them is closed in the end, the oldest as soon as others come."""
    assert service.process is not None
    master = psutil.Process(service.process.pid)
    threads = master.num_threads()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(100)]
        for client in clients:
            client.sendall(b"GET /metrics HTT")
        for _ in range(20):
            assert get_metrics(service).status_code == 200
        assert master.num_threads() == threads
        for client in clients:
            # A reset, because what it sent may not have been read.
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""


def test_a_worker_has_no_part_in_it(own_service: Service) -> None:
    """Not before and not after its predecessor was killed: a stop frees the address at once."""
    assert own_service.process is not None
    master = psutil.Process(own_service.process.pid)
    with connect(own_service) as half_sent:
        half_sent.sendall(b"GET")
        old = master.children()
        old[0].send_signal(signal.SIGKILL)

        def is_replaced() -> bool:
            assert get_metrics(own_service).status_code == 200
            workers = master.children()
            return len(workers) == 2 and workers != old and own_service.answers("/health")

        wait_until("a new worker", is_replaced)

        def listen_to_requests_only() -> bool:
            """A worker that was forked just now has not closed its copies yet."""
            for worker in master.children():
                listeners = {
                    connection.laddr.port
                    for connection in worker.net_connections("tcp")
                    if connection.status == psutil.CONN_LISTEN
                }
                if listeners != {own_service.port}:
                    return False
            return True

        wait_until("no worker to listen there", listen_to_requests_only)
        assert own_service.stop() == 0
        assert half_sent.recv(1) == b""
    own_service.start()
    assert get_metrics(own_service).status_code == 200


def test_an_address_that_is_taken_is_one_line(own_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_command(
            *("-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"),
            DATABASE_URL=own_url,
            JWT_SECRET=SECRET,
            METRICS_BIND=f"127.0.0.1:{taken.getsockname()[1]}",
            LOG_LEVEL="warning",
        )
    assert done.returncode == 1
    assert done.stderr.startswith("taskapi: METRICS_BIND can't be used: Address already in use")
    assert done.stderr.count("\n") == 1
