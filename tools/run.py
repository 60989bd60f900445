"""Run the service on this machine, with a database of its own unless DATABASE_URL names one."""

from __future__ import annotations

import errno
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import psycopg
from embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, die_with_parent

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from taskapi.config import ConfigError, load_config  # noqa: E402 - the checkout isn't installed

LOCAL = ROOT / ".local"
# Where /metrics is, if METRICS_BIND is not set.
METRICS = ("127.0.0.1", 9464)
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class LaunchError(Exception):
    """The service can't be run. The message is one line that says what to do."""


def main() -> int:
    """Run until a signal or a failure and return the exit status."""
    for number in _STOP_SIGNALS:
        # nohup ignores SIGHUP on purpose. A script's `&` ignores SIGINT, which is unwanted.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        return _run(dict(os.environ))
    except (LaunchError, EmbeddedPostgresError, ConfigError) as error:
        message = str(error)
    except PermissionError as error:
        message = f"{error.filename} is closed to this user: change its owner or remove it"
    except OSError as error:
        message = f"{error}: fix that and try again"
    print(f"taskapi: {message}", file=sys.stderr)
    return 1


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not break the shutdown
    sys.exit(0)


def _run(env: dict[str, str]) -> int:
    # Check the configuration before anything is created, with placeholders for what will be
    promised = {"DATABASE_URL": "postgresql://", "JWT_SECRET": "x" * 32}
    config = load_config(promised | {name: value for name, value in env.items() if value})
    host, port = config.host, config.port
    _check_address(host, port)
    if "METRICS_BIND" not in env:
        _enable_metrics(env)
    admin = ""
    with ExitStack() as stack:
        if not env.get("DATABASE_URL"):
            postgres = stack.enter_context(EmbeddedPostgres(LOCAL / "postgres"))
            _create_database(postgres)
            admin = postgres.url_of("postgres", "taskapi")
            env["DATABASE_URL"] = postgres.url_of("taskapi", "taskapi")
        if not env.get("JWT_SECRET"):
            env["JWT_SECRET"] = _local_secret()
        migrating = env | {"DATABASE_URL": admin or env["DATABASE_URL"]}
        strictly = ["--require-signatures"] if admin else []
        with _child(migrating, "taskapi", "migrate", "apply", *strictly) as migration:
            if status := migration.wait():
                return status
        if admin:
            _set_up_roles(admin)
        gunicorn = stack.enter_context(
            _child(env, "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app")
        )
        while not _is_ready(host, port):
            if gunicorn.poll() is not None:
                return gunicorn.returncode or 1
            time.sleep(0.05)
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        print(f"taskapi is ready on {url} (Ctrl-C stops it)", flush=True)
        gunicorn.wait()
        raise LaunchError(
            f"gunicorn ended by itself (status {gunicorn.returncode}): its log above says why"
        )


def _create_database(postgres: EmbeddedPostgres) -> None:
    """Create the database that the service uses, which release 0.1 kept in `postgres`."""
    with psycopg.connect(postgres.url_of("postgres", "template1"), autocommit=True) as conn:
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = 'taskapi'").fetchone():
            return
        with psycopg.connect(postgres.url) as earlier:
            [is_used] = earlier.execute("SELECT to_regclass('tasks') IS NOT NULL").fetchone() or [0]
        conn.execute(f"CREATE DATABASE taskapi TEMPLATE {'postgres' if is_used else 'template0'}")
    _set_up_roles(postgres.url_of("postgres", "taskapi"))


def _set_up_roles(url: str) -> None:
    """Run deploy/roles-of-*.sql, so that the service has the rights that it has in production."""
    with psycopg.connect(url, autocommit=True) as conn:
        for part in ("server", "database"):
            conn.execute((ROOT / "deploy" / f"roles-of-{part}.sql").read_bytes())


def _check_address(host: str, port: int) -> None:
    # gunicorn would report this after seconds of retries, and /ready could be another program's
    try:
        _try_to_bind(host, port)
    except (OSError, UnicodeError) as error:
        match error:
            case OSError(errno=errno.EADDRINUSE):
                message = f"port {port} is taken: stop what uses it or set PORT"
            case OSError(errno=errno.EACCES):
                message = f"port {port} is for root only: set PORT to 1024 or more"
            case _:
                message = f"this machine has no address {host!r}: set HOST"
        raise LaunchError(message) from None


def _enable_metrics(env: dict[str, str]) -> None:
    host, port = METRICS
    try:
        _try_to_bind(host, port)
    except OSError:
        # Not an error: a second checkout may run with another PORT
        print(f"taskapi: port {port} is taken, so there is no /metrics", file=sys.stderr)
    else:
        env["METRICS_BIND"] = f"{host}:{port}"


def _try_to_bind(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _local_secret() -> str:
    """Return the JWT secret of this checkout, created at first use."""
    path = LOCAL / "jwt_secret"
    with suppress(FileNotFoundError):
        if secret := path.read_text().strip():
            return secret
    LOCAL.mkdir(exist_ok=True)
    secret = secrets.token_urlsafe(48)
    with tempfile.NamedTemporaryFile("w", dir=LOCAL, delete=False) as file:  # mode 0600
        file.write(secret + "\n")
    Path(file.name).replace(path)
    return secret


@contextmanager
def _child(env: Mapping[str, str], *module: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module that is ended with the block, or with this process, by SIGTERM."""
    process = subprocess.Popen(
        [*die_with_parent("TERM"), sys.executable, "-m", *module],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,  # stdout is for the line that says that the service is ready
        # Ctrl-C would also send gunicorn a SIGINT, which drops requests in flight
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _is_ready(host: str, port: int) -> bool:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - no bind
    connection = http.client.HTTPConnection(reachable, port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
