"""gunicorn as gunicorn.conf.py sets it up: its sockets, reloads and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.accounts import Account
from tests.support.fixtures import MakeService
from tests.support.service import PATIENCE, ROOT, SECRET, environment, wait_until

# Takes a socket over as systemd hands it: number 3, for this very process.
AS_SYSTEMD = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)
GUNICORN = ("-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app")


@pytest.mark.slow
def test_ten_reloads_lose_no_request(make_service: MakeService, database_url: str) -> None:
    """Each of four clients reads all the time, on a connection that is kept."""
    service = make_service(DATABASE_URL=database_url)
    service.start()
    assert service.process is not None
    master = psutil.Process(service.process.pid)
    over = threading.Event()
    failures: list[str] = []
    counts = [0, 0, 0, 0]

    def read(number: int) -> None:
        with service.client() as client:
            user = Account.sign_up(client)
            while not over.is_set():
                try:
                    status = user.request("GET").status_code
                except httpx.TransportError as error:
                    failures.append(repr(error))
                else:
                    counts[number] += 1
                    if status != 200:
                        failures.append(str(status))

    readers = [threading.Thread(target=read, args=[number]) for number in range(4)]
    for reader in readers:
        reader.start()
    try:
        wait_until("all to read", lambda: all(counts))
        for _ in range(10):
            old, seen = {worker.pid for worker in master.children()}, list(counts)
            service.process.send_signal(signal.SIGHUP)

            def are_new(old: set[int] = old) -> bool:
                return len({worker.pid for worker in master.children()} - old) == 2

            def have_gone(old: set[int] = old, seen: list[int] = seen) -> bool:
                pids = {worker.pid for worker in master.children()}
                return not pids & old and all(map(int.__gt__, counts, seen))

            wait_until("new workers", are_new)
            wait_until("the old ones to end, and answers by the new", have_gone)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert failures == []
    print(f"\n{sum(counts)} requests over ten reloads")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_it_serves_on_the_socket_that_systemd_hands_over(
    listener: socket.socket, own_url: str, tmp_path: Path
) -> None:
    """Whatever HOST and PORT say, and after a reload."""
    log = tmp_path / "gunicorn.log"
    # A port that is taken: gunicorn would fail to bind it.
    with socket.create_server(("127.0.0.1", 0)) as taken, log.open("wb") as stderr:
        port = str(taken.getsockname()[1])
        process = subprocess.Popen(
            [sys.executable, "-c", AS_SYSTEMD, str(listener.fileno()), *GUNICORN],
            cwd=ROOT,
            env=environment(DATABASE_URL=own_url, JWT_SECRET=SECRET, PORT=port, DB_POOL_MIN="1"),
            pass_fds=[listener.fileno()],
            stderr=stderr,
        )
        try:
            # What comes before it is up waits in the socket.
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            assert httpx.get(f"{address}/health", timeout=PATIENCE).status_code == 200
            old = {worker.pid for worker in psutil.Process(process.pid).children()}
            process.send_signal(signal.SIGHUP)

            def is_reloaded() -> bool:
                pids = {worker.pid for worker in psutil.Process(process.pid).children()}
                return len(pids) == 2 and not pids & old

            wait_until("the reload", is_reloaded)
            assert httpx.get(f"{address}/health", timeout=PATIENCE).status_code == 200
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0
    assert "Connection in use" not in log.read_text()


def test_behind_a_unix_socket_the_proxy_tells_the_client(
    make_service: MakeService, database_url: str, folder: Path
) -> None:
    socket_path = folder / "taskapi.socket"
    service = make_service(
        DATABASE_URL=database_url, HOST=f"unix:{socket_path}", TRUSTED_PROXIES="1"
    )
    transport = httpx.HTTPTransport(uds=str(socket_path))
    with httpx.Client(transport=transport, base_url="http://taskapi", timeout=PATIENCE) as client:

        def answers(path: str) -> bool:
            return socket_path.exists() and client.get(path).status_code == 200

        service.answers = answers  # type: ignore[method-assign]
        service.start()
        headers = {"X-Forwarded-For": "192.0.2.9, 198.51.100.7", "X-Request-ID": "through-a-socket"}
        assert client.get("/health", headers=headers).status_code == 200
        bare = client.get("/health", headers={"X-Request-ID": "without-a-proxy"})
        assert bare.status_code == 200
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    addresses = {line.get("request_id"): line.get("client_ip") for line in lines}
    assert addresses["through-a-socket"] == "198.51.100.7"
    assert addresses["without-a-proxy"] is None
    assert not os.path.lexists(socket_path)
