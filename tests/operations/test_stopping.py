"""What becomes of those who connect while gunicorn stops."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import psycopg

from tests.support.accounts import Account
from tests.support.fixtures import MakeService
from tests.support.service import PATIENCE, wait_until
from tests.support.sockets import connect, is_refused
from tests.support.workers import workers_of


def resume(worker: psutil.Process) -> None:
    """Let a worker go on that was suspended, if it hasn't ended since."""
    with suppress(psutil.NoSuchProcess):
        worker.resume()


def test_who_has_connected_is_served(make_service: MakeService, database_url: str) -> None:
    service = make_service(DATABASE_URL=database_url, WEB_CONCURRENCY="1")
    service.start()
    [worker] = workers_of(service)
    status = Path(f"/proc/{worker.pid}/status")

    def is_told() -> bool:
        """Tell whether SIGTERM, the 15th signal, waits for the worker."""
        [mask] = [line.split()[1] for line in status.read_text().splitlines() if "ShdPnd" in line]
        return bool(int(mask, 16) & 1 << signal.SIGTERM - 1)

    assert service.process is not None
    with ExitStack() as stack:
        worker.suspend()
        stack.callback(resume, worker)
        clients = [stack.enter_context(connect(service)) for _ in range(5)]
        for client in clients:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        service.process.send_signal(signal.SIGTERM)
        wait_until("the worker to be told", is_told)
        worker.resume()
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert service.process.wait(PATIENCE) == 0


def test_who_comes_later_is_refused(make_service: MakeService, database_url: str) -> None:
    """And can ask another server, while the last request is still served."""
    service = make_service(DATABASE_URL=database_url, DB_STATEMENT_TIMEOUT="60")
    service.start()
    with service.client() as client, ThreadPoolExecutor(1) as thread:
        user = Account.insert(client, database_url)
        task = user.create()
        with psycopg.connect(database_url) as blocker:
            blocker.execute("SELECT advance_clock(%s)", [user.id])
            answer = thread.submit(user.request, "PATCH", f"/{task['id']}/complete")
            query = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
            with psycopg.connect(database_url, autocommit=True) as dba:
                pid = [blocker.info.backend_pid]
                wait_until("the request", lambda: dba.execute(query, pid).fetchone() is not None)
            assert service.process is not None
            service.process.send_signal(signal.SIGTERM)
            # Half of the graceful_timeout, after which gunicorn gives up on the request too.
            wait_until("a refusal", lambda: is_refused(service), 15)
            assert not answer.done()
            blocker.rollback()
        assert answer.result().status_code == 200
    assert service.process.wait(PATIENCE) == 0
