"""Clients that send or receive slowly, or not at all: they hold no thread and no place for long."""

from __future__ import annotations

import json
import resource
import select
import signal
import socket
from contextlib import ExitStack, suppress

import psutil
import psycopg
import pytest

from tests.support.accounts import Account
from tests.support.fixtures import MakeService
from tests.support.metrics import read_metrics
from tests.support.service import PATIENCE, Service, wait_until
from tests.support.sockets import connect

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def one_worker(make_service: MakeService, database_url: str) -> Service:
    """A service of one worker with eight threads."""
    return make_service(DATABASE_URL=database_url, WEB_CONCURRENCY="1")


def serves(service: Service, count: int = 50) -> bool:
    """Tell whether so many requests in a row, on new connections, are answered."""
    for _ in range(count):
        with service.client() as client:
            if client.get("/health").status_code != 200:
                return False
    return True


SLOW = {
    "nothing sent": b"",
    "half a head": HEAD,
    "a body of one byte": BODY + b"Content-Length: 100\r\n\r\n{",
    "a body without end": BODY + b"Content-Length: 99999999999999999999\r\n\r\n{",
    "chunks without end": BODY + b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
    "malformed": b"nonsense\r\n\r\n",
}


@pytest.mark.parametrize("kind", SLOW)
def test_200_slow_clients_hold_no_thread(one_worker: Service, kind: str) -> None:
    one_worker.start()
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(one_worker)).sendall(SLOW[kind])
        assert serves(one_worker)


@pytest.mark.slow
def test_it_serves_beside_1000_idle_and_200_half_sent(
    make_service: MakeService, database_url: str
) -> None:
    service = make_service(DATABASE_URL=database_url)
    service.start()
    with ExitStack() as stack:
        for n in range(1200):
            stack.enter_context(connect(service)).sendall(HEAD if n % 6 == 0 else b"")
        assert serves(service)


def test_slow_readers_hold_no_thread(one_worker: Service, database: psycopg.Connection) -> None:
    """32 lists of two MiB that are not read: each is longer than what the kernel buffers."""
    one_worker.start()
    with one_worker.client() as client, ExitStack() as stack:
        user = Account.insert(client, database)
        database.execute(
            "INSERT INTO tasks (user_id, title, description)"
            " SELECT %s, n::text, repeat(E'\\x01', 10000) FROM generate_series(1, 40) AS n",
            [user.id],
        )
        request = f"GET {user.tasks} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user.token}\r\n"
        readers = []
        for _ in range(32):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(PATIENCE)
            reader.connect(("127.0.0.1", one_worker.port))
            stack.enter_context(reader).sendall(f"{request}\r\n".encode())
            readers.append(reader)
            assert reader.recv(15) in (b"HTTP/1.1 200 OK", b"HTTP/1.1 429 To")
        assert serves(one_worker)
        # Whoever reads on gets all of it.
        received = len(readers[-1].recv(65536))
        while received < 2 * 2**20 and (piece := readers[-1].recv(65536)):
            received += len(piece)
        assert received > 2 * 2**20 or b"429" in piece


def test_a_malformed_request_is_answered_in_json_and_quotes_nothing(one_worker: Service) -> None:
    cases = {
        b"GET /<b> SECRET/1.1\r\n\r\n": b"HTTP/1.1 505 HTTP Version Not Supported",
        b"SECRET\r\n\r\n": b"HTTP/1.1 400 Bad Request",
        b"GET / HTTP/9.9\r\n\r\n": b"HTTP/1.1 505 HTTP Version Not Supported",
        b"GET /" + b"SECRET" * 2000 + b" HTTP/1.1\r\n\r\n": b"HTTP/1.1 414 ",
        HEAD + b"X: SECRET\r\n" * 200 + b"\r\n": b"HTTP/1.1 431 ",
        HEAD + b"SE CRET: x\r\n\r\n": b"HTTP/1.1 400 Bad Request",
        HEAD + b"X: " + b"SECRET" * 8_000: b"HTTP/1.1 431 ",
    }
    one_worker.start()
    for request, status in cases.items():
        with connect(one_worker) as client:
            client.sendall(request)
            answer = read_all(client)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(status), (request[:40], head)
        assert b"Content-Type: application/json" in head
        assert b"X-Request-ID: " in head
        assert b"nosniff" in head
        assert body.startswith(b'{"detail":"')
        assert b"SECRET" not in answer
    assert "SECRET" not in one_worker.log.read_text()


def test_a_malformed_request_is_answered_in_the_form_that_it_prefers(one_worker: Service) -> None:
    """As far as its Accept can be read."""
    accept = b"aCCept: text/html\r\nACCEPT:  application/problem+json;q=1 \r\n"
    cases = {
        b"GET / HTTP/9.9\r\n" + accept + b"\r\n": (505, "The HTTP version is not supported"),
        b"SECRET\r\n" + accept + b"\r\n": (400, "The request is not valid HTTP"),
        HEAD + accept + b"X: x\r\n" * 200 + b"\r\n": (431, "The request headers are too large"),
        HEAD + accept + b"SE CRET: x\r\n\r\n": (400, "The request is not valid HTTP"),
        HEAD + b"SE CRET: x\r\n" + accept + b"\r\n": (400, "The request is not valid HTTP"),
    }
    one_worker.start()
    for request, (status, detail) in cases.items():
        with connect(one_worker) as client:
            client.sendall(request)
            head, _, body = read_all(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nContent-Type: application/problem+json\r\n" in head
        problem = json.loads(body)
        assert problem["title"]
        assert problem | {"title": ""} == {
            "type": "about:blank",
            "title": "",
            "status": status,
            "detail": detail,
        }
    # Not: another request's, a body's, or one that is not whole.
    for request in (
        HEAD + accept + b"\r\n" + b"SECRET\r\n\r\n",
        b"SECRET\r\n\r\n" + accept + b"\r\n",
        HEAD + accept + b"X: " + b"x" * 40_000,
    ):
        with connect(one_worker) as client:
            client.sendall(request)
            answer = read_all(client)
        assert b"application/problem+json" not in answer.replace(b"X" * 100, b"")
        assert b'\r\n\r\n{"detail":' in answer


def read_all(client: socket.socket) -> bytes:
    """Read until the service closes the connection."""
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def test_a_body_is_as_long_as_gunicorns_parser_says(one_worker: Service) -> None:
    """Or what comes late would be taken for the next request."""
    one_worker.start()
    request = HEAD + b"\r\n"
    late = BODY + b"Expect: 100-continue\r\nContent-Length: 0000000000000000000000%d\r\n\r\n"
    with connect(one_worker) as client:
        client.sendall(late % len(request))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answers = read_all(client)
    assert answers.count(b"HTTP/1.1 ") == answers.count(b"HTTP/1.1 400 ") == 1


def test_requests_sent_together_wait_their_turn(one_worker: Service) -> None:
    """A newcomer is answered before all of 8,000 that eight clients have sent at once."""
    one_worker.start()
    request = HEAD + b"\r\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(one_worker)) for _ in range(8)]
        for client in clients:
            client.sendall(request * 1000)
        assert serves(one_worker, 1)
        assert read_metrics(one_worker)["taskapi_requests_total", "GET", "/health", "200"] < 4000


def test_unfinished_requests_are_limited(one_worker: Service) -> None:
    """600 bodies of almost 64 KiB are more than a worker keeps: some clients are cut off."""
    one_worker.start()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(one_worker)) for _ in range(600)]
        for client in clients:
            with suppress(OSError):
                client.sendall(BODY + b"Content-Length: 65000\r\n\r\n" + b" " * 64_000)
        assert serves(one_worker)

        def closed() -> int:
            poll = select.poll()
            for client in clients:
                poll.register(client, select.POLLIN)
            return len(poll.poll(0))

        wait_until("some to be closed", lambda: closed() >= 50)


def test_what_gunicorn_refuses_is_counted(one_worker: Service) -> None:
    one_worker.start()
    for _ in range(3):
        with connect(one_worker) as client:
            client.sendall(b"nonsense\r\n\r\n")
            read_all(client)
    assert read_metrics(one_worker)["taskapi_requests_total", "other", "unmatched", "400"] == 3


def test_a_body_that_will_be_refused_is_not_asked_for(one_worker: Service) -> None:
    one_worker.start()
    with connect(one_worker) as client:
        client.sendall(BODY + b"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_expects_100_continue_gets_it(one_worker: Service) -> None:
    one_worker.start()
    with connect(one_worker) as client:
        client.sendall(BODY + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(b"{}")
        answer = b""
        while b"value_error" not in answer:
            answer += client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 422 ")


def test_it_stops_though_clients_have_sent_half_a_request(one_worker: Service) -> None:
    one_worker.start()
    with connect(one_worker) as head, connect(one_worker) as body:
        head.sendall(HEAD)
        body.sendall(SLOW["a body of one byte"])
        assert serves(one_worker, 1)
        assert one_worker.process is not None
        one_worker.process.send_signal(signal.SIGTERM)
        # Half of graceful_timeout, after which gunicorn kills a worker that doesn't end.
        assert one_worker.process.wait(15) == 0


def test_a_newcomer_takes_the_place_of_the_longest_idle(one_worker: Service) -> None:
    one_worker.variables["GUNICORN_CMD_ARGS"] = "--worker-connections 30"
    one_worker.start()
    with ExitStack() as stack:
        first = stack.enter_context(connect(one_worker))
        for _ in range(60):
            stack.enter_context(connect(one_worker))
        assert serves(one_worker)
        assert first.recv(1) == b""


def test_out_of_file_descriptors_it_serves_newcomers(one_worker: Service) -> None:
    one_worker.start()
    assert one_worker.process is not None
    [worker] = psutil.Process(one_worker.process.pid).children()
    files = worker.num_fds() + 20
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (files, files))
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(one_worker))
        wait_until("newcomers to be served", lambda: serves(one_worker, 1))
        assert serves(one_worker)
