"""The service as it runs in production: gunicorn, its workers, and what they log."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
SECRET = "a secret of the tests with more than 32 bytes"
# Generous, for a machine that is busy: nothing is measured by it.
PATIENCE = 60.0
# For a service whose statements wait for a test, several of one user's at a time.
PATIENT = {"DB_STATEMENT_TIMEOUT": "60", "DB_POOL_USER_MAX": "8"}
# No test speaks TLS to the service. Each client would read all authorities' certificates: 30 ms.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# What decides how the service behaves must come from the test, not from the developer's shell.
CONTRACT_VARIABLES = {
    line.removeprefix("# ").partition("=")[0]
    for line in (ROOT / ".env.example").read_text().splitlines()
    if "=" in line
}


def wait_until(what: str, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for a condition that nothing announces. Raises TimeoutError that says what."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience:.0f} s for {what}")
        time.sleep(0.02)


def free_port() -> int:
    """Return a port of the loopback interface that nothing uses.

    It is below those that the system gives to clients, so that none takes it meanwhile. `secrets`,
    because processes of the tests share the seed of `random`.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a command: the shell's, without the contract's variables."""
    inherited = {k: v for k, v in os.environ.items() if k not in CONTRACT_VARIABLES}
    return inherited | variables


def run_command(
    *args: str, folder: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments in the project's folder and return what it did."""
    return subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )


def migrate(database_url: str) -> None:
    """Apply the real migrations, by the real command."""
    done = run_command(
        "-m", "taskapi", "migrate", "apply", DATABASE_URL=database_url, JWT_SECRET=SECRET
    )
    assert done.returncode == 0, done.stderr


class Service:
    """A gunicorn on a port of its own."""

    def __init__(self, log: Path, variables: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        metrics = f"127.0.0.1:{free_port()}"
        self.metrics_url = f"http://{metrics}"
        self.log = log
        self.root = ROOT
        self.variables = {
            "JWT_SECRET": SECRET,
            "PORT": str(self.port),
            "METRICS_BIND": metrics,
            "DB_POOL_MIN": "2",
            # Most tests' clients have one address, and sign up many users.
            "SIGNUPS_PER_MINUTE": "1000000",
            # Tests of what is refused would take a second for each.
            "REFUSAL_DELAY": "0",
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> None:
        """Start it and wait until it is ready, or without a database only until it lives."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"],
                cwd=self.root,
                env=environment(**self.variables),
                stdout=log,
                stderr=log,
            )
        path = "/ready" if ready else "/health"
        wait_until(f"{path} of the service", lambda: self.answers(path))

    def answers(self, path: str) -> bool:
        """Tell whether a GET of the path succeeds; fails the test if gunicorn has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            response = httpx.get(self.url + path, timeout=10, verify=NO_AUTHORITIES)
        except httpx.TransportError:
            return False
        return response.status_code == 200

    def stop(self) -> int:
        """End it as an operator does, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    def client(self) -> httpx.Client:
        """Return a client with a connection pool of its own."""
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        return httpx.Client(
            base_url=self.url, timeout=PATIENCE, limits=limits, verify=NO_AUTHORITIES
        )
