"""gunicorn's settings, in production as in `make run`. taskapi/config.py reads what varies."""

import ctypes
import gc
import os
import select
import shutil
import sys
import tempfile
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import glogging

from taskapi.config import ConfigError, load_config
from taskapi.operations.exporter import Exporter
from taskapi.operations.logs import make_formatter
from taskapi.operations.metrics import forget_worker, render, share_with_workers
from taskapi.operations.worker import forget_clients

# From malloc.h.
M_MMAP_THRESHOLD = -3

try:
    _config = load_config()
except ConfigError as error:
    sys.exit(f"taskapi: {error}")

# Without effect if systemd passes a socket (LISTEN_FDS), which gunicorn uses then.
if _config.host.startswith("unix:"):
    bind = _config.host
else:
    _host = f"[{_config.host}]" if ":" in _config.host else _config.host
    bind = f"{_host}:{_config.port}"
# Threads for requests that wait for the database, processes for the cores.
# gthread with two changes: threads wait on connections themselves, and shutdown drains the accept
# queue. It needs Linux.
worker_class = "taskapi.operations.worker.SharingWorker" if hasattr(select, "epoll") else "gthread"
# The worker sends responses itself, as far as the client takes them.
sendfile = False
workers = _config.web_concurrency
threads = _config.web_threads
loglevel = _config.log_level
# Above the 60 s that nginx keeps an idle connection, so that nginx closes it first. Otherwise it
# could send a request on a connection that is just being closed.
keepalive = 75
# Above the longest request: the wait for a connection and a statement at its time limit.
graceful_timeout = 30
# Seconds without a heartbeat from a worker's main thread, which only accepts connections, until the
# worker is killed. This does not limit a request.
timeout = 30
# A worker is replaced after about 100,000 requests, so that a leak can't grow forever. The jitter
# prevents all workers from being replaced at once.
max_requests = 100_000
max_requests_jitter = 20_000
# The heartbeat changes a file. In memory, so that a stalled disk doesn't kill workers.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108
# taskapi logs each request itself, with its id.
accesslog = None
# What proxies say is read in one place, by TRUSTED_PROXIES: gunicorn would trust every client
# from this machine, and any Unix socket's peer, and let them set the path.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
# All gunicorns of one user would share it, and it is not used here.
control_socket_disable = True


class Logger(glogging.Logger):  # type: ignore[misc]
    """Writes gunicorn's log lines in the format of taskapi, without quoting requests."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(make_formatter(_config.log_format))

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        # The message quotes the invalid line or header.
        if msg.startswith("Invalid request from"):
            cause = sys.exc_info()[0]
            msg = f"{msg.partition(': ')[0]}: {cause and cause.__name__}"
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        # The arguments are the method and the URI.
        super().exception(str(msg).removesuffix(" %s").removesuffix(" %s"), **kwargs)


logger_class = Logger


def on_starting(server: Any) -> None:
    """Create the folder of the workers' metrics, which are new at each start."""
    server.exporter = None
    if _config.metrics_bind:
        try:
            server.exporter = Exporter(_config.metrics_bind)
        except OSError as error:
            sys.exit(f"taskapi: METRICS_BIND can't be used: {error.strerror}")
    server.metrics_folder = tempfile.mkdtemp(prefix="taskapi-metrics-")
    if server.exporter:
        server.exporter.start(partial(render, server.metrics_folder))


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker the first free slot, and with it the slot's metrics files."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)


def post_fork(server: Any, worker: Any) -> None:
    """Share the metrics before the application is created."""
    if server.exporter:
        server.exporter.close_in_worker()
    share_with_workers(server.metrics_folder, worker.slot)
    _return_large_blocks()


def _return_large_blocks() -> None:
    """Make glibc return blocks of 1 MiB and more to the system when they are freed.

    It would keep those of password hashes, 19 MiB each, and of long lists, in each thread's arena.
    """
    with suppress(AttributeError, OSError):  # another libc
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)


def post_worker_init(worker: Any) -> None:
    """Open the pool after the fork: connections must not be shared by workers."""
    worker.wsgi.extensions["taskapi.database"].open()
    metrics = worker.wsgi.extensions["taskapi.metrics"]
    metrics.watch_pool()
    worker.count_refusal = metrics.count_refusal
    worker.refusal_delay = _config.refusal_delay
    # Exclude what exists now from garbage collection: scanning it stops all threads for 20 ms.
    gc.collect()
    gc.freeze()


def worker_exit(server: Any, worker: Any) -> None:
    """Close the pool after the last request. A worker that failed to start has none."""
    if hasattr(worker, "wsgi"):
        worker.wsgi.extensions["taskapi.database"].close()


def child_exit(server: Any, worker: Any) -> None:
    """Remove what a worker shared with others, also after it was killed."""
    forget_worker(server.metrics_folder, worker.slot)
    forget_clients(worker.age)


def on_exit(server: Any) -> None:
    """Remove the metrics."""
    if server.exporter:
        server.exporter.stop()
    shutil.rmtree(server.metrics_folder, ignore_errors=True)
