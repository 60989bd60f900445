"""A 429 is kept back, so that repeating a request at once is of no use."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.accounts import new_email, sign_up
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService
from tests.support.service import wait_until
from tests.support.sockets import connect

REFUSED = "Too many sign-ups: try again later"


def test_a_refusal_is_kept_back_without_a_thread(make_service: MakeService, own_url: str) -> None:
    """Of 20 that would wait for ten seconds, each is sent when the worker stops."""
    service = make_service(
        DATABASE_URL=own_url,
        REFUSAL_DELAY="10",
        SIGNUPS_PER_MINUTE="1",
        WEB_CONCURRENCY="1",
        WEB_THREADS="4",
    )
    service.start()
    with service.client() as client, ThreadPoolExecutor(20) as threads:
        assert sign_up(client, new_email()).status_code == 201
        began = time.monotonic()
        refused = [threads.submit(sign_up, client, new_email()) for _ in range(20)]
        wait_until("the refusals", lambda: service.log.read_text().count('"status":429') == 20)
        for _ in range(20):
            assert client.get("/health").status_code == 200
        is_early = time.monotonic() < began + 10  # or this machine is too slow to show it
        assert not (is_early and any(each.done() for each in refused))
        service.stop()
        for each in refused:
            assert_error(each.result(), 429, REFUSED)


def test_a_connection_goes_on_after_a_refusal(make_service: MakeService, own_url: str) -> None:
    """It is sent after its time, and the next request is served; a client may also go away."""
    service = make_service(DATABASE_URL=own_url, REFUSAL_DELAY="1", SIGNUPS_PER_MINUTE="1")
    service.start()
    with service.client() as client:
        assert sign_up(client, new_email()).status_code == 201
        body = b'{"email": "someone@example.com", "password": "correct horse battery staple"}'
        with connect(service) as connection:
            connection.sendall(
                b"POST /api/auth/signup HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                % (len(body), body)
            )
            began = time.monotonic()
            first = connection.recv(12)
            assert time.monotonic() - began >= 1
            assert first == b"HTTP/1.1 429"
            rest = b"".join(iter(lambda: connection.recv(10_000), b""))
            assert b"HTTP/1.1 200" in rest
        with connect(service) as connection:
            connection.sendall(
                b"POST /api/auth/signup HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
        began = time.monotonic()
        assert_error(sign_up(client, new_email()), 429, REFUSED)
        assert time.monotonic() - began >= 1
        assert client.get("/health").status_code == 200
