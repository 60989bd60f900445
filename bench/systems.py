"""The systems that are compared: how each is started and ended, and what its processes use."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from embedded_postgres import die_with_parent

from tests.support.service import free_port

ROOT = Path(__file__).resolve().parent.parent
PROJECT_PYTHON = Path(sys.executable)
PEERS_PYTHON = ROOT / ".venv" / "bench" / "bin" / "python"
NODE = Path(shutil.which("node") or "node")
NODE_PACKAGES = ROOT / "bench" / "peers" / "fastify_pg" / "node_modules"
# Every system's, so that one token serves all.
JWT_SECRET = "a secret of the bench with more than 32 bytes"  # noqa: S105
# Seconds.
_START_LIMIT = 60.0
_STOP_LIMIT = 40.0
_POLL_PAUSE = 0.002


class BenchError(Exception):
    """The bench can't go on, or something it measured was wrong; the message is one line."""


@dataclass(frozen=True)
class Settings:
    """What each system is started with: what `make run` takes by default."""

    workers: int = 2
    threads: int = 8
    pool_min: int = 5
    pool_max: int = 20
    # Whether each request is logged.
    logs: bool = True


@dataclass(frozen=True)
class Kind:
    """What a system is started by: a program and arguments, with and without a log of requests."""

    name: str
    program: Path
    arguments: Callable[[Settings, str, int], list[str]]
    quiet_arguments: tuple[str, ...] = ()
    quiet_variables: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    # Answers a constant, whatever is asked.
    is_empty: bool = False
    root: Path = ROOT

    def describe_missing(self) -> str:
        """Return what it can't start without and how to install that; nothing if all is there."""
        if self.program == NODE:
            if not NODE.exists():
                return f"{self.name}: node is missing: apt install nodejs npm"
            if not NODE_PACKAGES.exists():
                return f"{self.name}: {NODE_PACKAGES} is missing: make bench installs it"
        elif not self.program.exists():
            return f"{self.name}: {self.program} is missing: make bench installs it"
        return ""


def _taskapi(_settings: Settings, _host: str, _port: int) -> list[str]:
    return ["-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"]


def _uvicorn(module: str) -> Callable[[Settings, str, int], list[str]]:
    def arguments(settings: Settings, host: str, port: int) -> list[str]:
        address = ["--host", host, "--port", str(port)]
        served_by = ["--workers", str(settings.workers), "--loop", "uvloop", "--http", "httptools"]
        app = [f"{module}.main:app", "--app-dir", "bench/peers"]
        return ["-m", "uvicorn", *app, *served_by, *address]

    return arguments


def _fastify(_settings: Settings, _host: str, _port: int) -> list[str]:
    return ["bench/peers/fastify_pg/server.js"]


def _django(settings: Settings, _host: str, _port: int) -> list[str]:
    log = ["--access-logfile", "-"] if settings.logs else []
    return ["-m", "gunicorn", "--config", "bench/peers/django_rest/gunicorn.conf.py", *log]


def _empty(module: str) -> Callable[[Settings, str, int], list[str]]:
    def arguments(_settings: Settings, _host: str, _port: int) -> list[str]:
        return ["-m", "gunicorn", "--config", "bench/peers/empty.conf.py", f"{module}:app"]

    return arguments


TASKAPI = Kind("taskapi", PROJECT_PYTHON, _taskapi, quiet_variables={"LOG_SUCCESSES": "0"})
KINDS = {
    kind.name: kind
    for kind in (
        TASKAPI,
        Kind(
            "starlette",
            PEERS_PYTHON,
            _uvicorn("starlette_asyncpg"),
            quiet_arguments=("--no-access-log",),
        ),
        Kind(
            "fastify",
            NODE,
            _fastify,
            quiet_variables={"LOG_LEVEL": "warn"},
            variables={"NODE_ENV": "production"},
        ),
        Kind(
            "fastapi",
            PEERS_PYTHON,
            _uvicorn("fastapi_sqlmodel"),
            quiet_arguments=("--no-access-log",),
            # It would close each connection beyond these that is given back, and open it again.
            variables={"DB_POOL_MIN": "20"},
        ),
        Kind("django", PEERS_PYTHON, _django),
        Kind("flask-empty", PROJECT_PYTHON, _empty("flask_empty"), is_empty=True),
        Kind("wsgi-empty", PROJECT_PYTHON, _empty("wsgi_empty"), is_empty=True),
    )
}


def checkout(name: str, root: Path) -> Kind:
    """Return another checkout of taskapi as a system, run by its own Python."""
    return replace(TASKAPI, name=name, root=root, program=root / ".venv" / "bin" / "python")


class System:
    """A running system on a port of its own."""

    def __init__(
        self,
        kind: Kind,
        database_url: str,
        log: Path,
        settings: Settings,
        *,
        name: str = "",
        arguments: tuple[str, ...] = (),
        **variables: str,
    ) -> None:
        self.kind = kind
        self.name = name or kind.name
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._variables = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "DATABASE_URL": database_url,
            "JWT_SECRET": JWT_SECRET,
            "JWT_EXPIRES_SECONDS": "604800",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(settings.workers),
            "WEB_THREADS": str(settings.threads),
            "DB_POOL_MIN": str(settings.pool_min),
            "DB_POOL_MAX": str(settings.pool_max),
            **kind.variables,
            **({} if settings.logs else kind.quiet_variables),
            **variables,
        }
        self._command = [
            *die_with_parent("TERM"),
            str(kind.program),
            *kind.arguments(settings, "127.0.0.1", self.port),
            *(() if settings.logs else kind.quiet_arguments),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0

    def start(self) -> None:
        """Start it; return at once."""
        if missing := self.kind.describe_missing():
            raise BenchError(missing)
        with self.log.open("ab") as log:
            self.started_at = time.perf_counter()
            self._process = subprocess.Popen(
                self._command,
                cwd=self.kind.root,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_for(self, path: str, token: str = "") -> float:
        """Wait until a GET of the path succeeds; return the seconds since the start.

        Raises BenchError if it ends, or doesn't succeed within a minute.
        """
        assert self._process is not None
        while not self._answers(path, token):
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended by itself: {self._last_words()}")
            if time.perf_counter() - self.started_at > _START_LIMIT:
                raise BenchError(f"{self.name} doesn't answer {path}: {self._last_words()}")
            time.sleep(_POLL_PAUSE)
        return time.perf_counter() - self.started_at

    def _answers(self, path: str, token: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_START_LIMIT)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """End it by SIGTERM, and by SIGKILL what doesn't."""
        if self._process is None:
            return
        processes = self.processes()
        self._process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=_STOP_LIMIT)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        """The process id of the one that was started, the parent of all others."""
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """Return all its processes."""
        return process_tree(self.pid)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        # uvicorn's parent has a child of Python's own multiprocessing beside the workers.
        return [
            child
            for child in psutil.Process(self.pid).children()
            if not any("resource_tracker" in word for word in child.cmdline())
        ]


@contextmanager
def running(*systems: System) -> Iterator[None]:
    """Start the systems, wait until each lives, and end them with the block."""
    try:
        for system in systems:
            system.start()
        for system in systems:
            system.wait_for("/health")
        yield
    finally:
        for system in systems:
            system.stop()


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its descendants, ended ones included."""
    total = 0.0
    for process in process_tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory(process: psutil.Process) -> dict[str, float]:
    """Return a process's memory in MiB: its proportional share (PSS), and what is its own (USS)."""
    pages: dict[str, int] = {}
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        pages[name.rstrip(":")] = int(value)
    own = pages["Private_Clean"] + pages["Private_Dirty"]
    return {"pss": pages["Pss"] / 1024, "uss": own / 1024}
