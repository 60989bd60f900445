"""What `make run` executes: one command that starts everything, and ends all of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.accounts import Account
from tests.support.service import PATIENCE, ROOT, environment, free_port, wait_until

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.Popen[str]"]
SERVED = ("deploy", "tools", "gunicorn.conf.py", "migrations", "sql", "taskapi", "wsgi.py")


@pytest.fixture
def checkout(folder: Path) -> Iterator[Path]:
    """A copy of the checkout, with a space in its path and no data yet."""
    copy = folder / "a checkout"
    for name in SERVED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name)
        else:
            shutil.copy(ROOT / name, copy / name)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture
def run(checkout: Path) -> Iterator[Run]:
    """Return a function that starts the launcher."""
    launchers: list[subprocess.Popen[str]] = []

    def start(**variables: str) -> subprocess.Popen[str]:
        launchers.append(
            subprocess.Popen(
                [sys.executable, "tools/run.py"],
                cwd=checkout,
                # Tests of other processes may run at the same time.
                env=environment(**{"METRICS_BIND": ""} | variables),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return launchers[-1]

    yield start
    for launcher in launchers:
        if launcher.poll() is None:
            launcher.terminate()
        launcher.communicate(timeout=PATIENCE)


def first_line(launcher: subprocess.Popen[str]) -> str:
    """Return the next line of what the launcher itself prints."""
    assert launcher.stdout is not None
    return next(launcher.stdout)


def processes_of(checkout: Path) -> list[psutil.Process]:
    """Return what still runs for this copy: its database by argument, the rest by folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(checkout) in " ".join(process.cmdline()) or process.cwd() == str(checkout):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def without_nohup() -> Iterator[None]:
    """Let SIGHUP end what the test starts, also where the tests themselves are run by nohup."""
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, handler)


@pytest.mark.usefixtures("without_nohup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_starts_everything_and_ends_everything(
    run: Run, checkout: Path, number: signal.Signals
) -> None:
    """A second start finds the data, and tokens of before are still good."""
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    launcher = run(PORT=port)
    assert first_line(launcher) == f"taskapi is ready on {url} (Ctrl-C stops it)\n"
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        user = Account.sign_up(client)
        task = user.create()
    launcher.send_signal(number)
    assert launcher.wait(PATIENCE) == 0
    assert processes_of(checkout) == []
    again = run(PORT=port)
    first_line(again)
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        assert client.get(user.tasks, headers=user.headers).json() == [task]
    again.send_signal(number)
    assert again.wait(PATIENCE) == 0
    secret = checkout / ".local" / "jwt_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_killed_launcher_leaves_nothing_that_the_next_minds(run: Run, checkout: Path) -> None:
    port = str(free_port())
    killed = run(PORT=port)
    first_line(killed)
    killed.kill()
    killed.wait()
    if sys.platform == "linux":
        wait_until("all it started to end", lambda: processes_of(checkout) == [])
    again = run(PORT=port)
    assert first_line(again).startswith("taskapi is ready on ")


def test_one_checkout_runs_once(run: Run) -> None:
    first_line(run(PORT=str(free_port())))
    second = run(PORT=str(free_port()))
    stdout, stderr = second.communicate(timeout=PATIENCE)
    assert (second.returncode, stdout) == (1, "")
    assert stderr.startswith("taskapi: the database in ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("PORT", "http", "PORT must be a whole number from 1 to 65535, not 'http'"),
        ("PORT", "{taken}", "port {taken} is taken: stop what uses it or set PORT"),
        ("HOST", "192.0.2.1", "this machine has no address '192.0.2.1': set HOST"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL must be a libpq URI"),
        ("DATABASE_URL", "postgresql://127.0.0.1:{free}/x", "check DATABASE_URL"),
        ("JWT_SECRET", "short", "JWT_SECRET is too short"),
        ("WEB_THREADS", "many", "WEB_THREADS must be a whole number"),
    ],
)
def test_what_goes_wrong_is_one_line(run: Run, name: str, value: str, cure: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        names = {"taken": server.getsockname()[1], "free": free_port()}
        variables = {"PORT": str(free_port()), name: value.format(**names)}
        launcher = run(**variables)
        _, stderr = launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode != 0
    assert stderr.startswith("taskapi: ")
    assert cure.format(**names) in stderr
    assert stderr.count("\n") == 1


def test_it_says_what_it_cannot_write(run: Run, checkout: Path) -> None:
    (checkout / ".local").write_text("a file where the folder should be")
    launcher = run(PORT=str(free_port()))
    _, stderr = launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode == 1
    assert stderr.startswith("taskapi: ")
    assert stderr.count("\n") == 1


def test_no_directory_that_was_there_changes_its_mode(run: Run, checkout: Path) -> None:
    directories = [checkout, *checkout.parents]
    before = [path.stat().st_mode for path in directories]
    first_line(run(PORT=str(free_port())))
    assert [path.stat().st_mode for path in directories] == before


def test_with_a_database_of_ones_own_it_starts_none(
    run: Run, checkout: Path, empty_database: str
) -> None:
    launcher = run(PORT=str(free_port()), DATABASE_URL=empty_database, JWT_SECRET="x" * 32)
    assert first_line(launcher).startswith("taskapi is ready on ")
    assert not (checkout / ".local").exists()
    os.kill(launcher.pid, signal.SIGTERM)
    assert launcher.wait(PATIENCE) == 0
