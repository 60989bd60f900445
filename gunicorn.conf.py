"""gunicorn's settings, in production as in `make run`. The environment sets what varies."""

import gc
import os
import select
import shutil
import sys
import tempfile
from functools import partial
from typing import Any

from gunicorn import glogging

from taskapi.config import ConfigError, load_config
from taskapi.operations.exporter import Exporter
from taskapi.operations.logs import make_formatter
from taskapi.operations.metrics import forget_worker, render, share_with_workers
from taskapi.operations.worker import forget_clients

try:
    _config = load_config()
except ConfigError as error:
    sys.exit(f"taskapi: {error}")

# Of no effect where systemd hands over a socket (LISTEN_FDS): gunicorn takes that one then.
if _config.host.startswith("unix:"):
    bind = _config.host
else:
    _host = f"[{_config.host}]" if ":" in _config.host else _config.host
    bind = f"{_host}:{_config.port}"
# A request waits for the database most of its time, which threads do well; processes for the cores.
# This is gthread, but for who waits for requests and how it stops; it needs Linux.
worker_class = "taskapi.operations.worker.SharingWorker" if hasattr(select, "epoll") else "gthread"
workers = _config.web_concurrency
threads = _config.web_threads
loglevel = _config.log_level
# Above the 60 s for which nginx keeps an idle connection, so that nginx is the one to close it:
# else it may send a request on a connection that is just being closed.
keepalive = 75
# Above the longest request: the wait for a connection and a statement at its time limit.
graceful_timeout = 30
# Seconds without a sign of life from a worker's main thread, which only accepts connections, until
# it is killed. It is no limit of a request.
timeout = 30
# A worker ends after some 100,000 requests and another takes its place, so that whatever leaks
# can't grow for ever; at 100 requests a second every quarter of an hour. With the jitter they don't
# all do so at once.
max_requests = 100_000
max_requests_jitter = 20_000
# The signs of life are changes of a file: in memory, so that a disk that stalls kills no worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108
# taskapi logs each request itself, with its id.
accesslog = None
# What proxies say is read in one place, by TRUSTED_PROXIES: gunicorn would believe whoever comes
# from this machine, and any Unix socket's peer, and let them set the path.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
# It is shared by all gunicorns of one user and nobody here uses it.
control_socket_disable = True


class Logger(glogging.Logger):  # type: ignore[misc]
    """Writes gunicorn's lines as taskapi's are, without what they quote of a request."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(make_formatter(_config.log_format))

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        # It would quote the line or the header that is wrong.
        if msg.startswith("Invalid request from"):
            cause = sys.exc_info()[0]
            msg = f"{msg.partition(': ')[0]}: {cause and cause.__name__}"
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        # Its arguments are the method and the URI.
        super().exception(str(msg).removesuffix(" %s").removesuffix(" %s"), **kwargs)


logger_class = Logger


def on_starting(server: Any) -> None:
    """Make the folder in which the workers keep their metrics; the files are new at each start."""
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
    """Give a worker the first place that no other has, and with it the files of the metrics."""
    taken = {other.place for other in server.WORKERS.values()}
    worker.place = next(place for place in range(len(taken) + 1) if place not in taken)


def post_fork(server: Any, worker: Any) -> None:
    """Share the metrics before the application is made."""
    if server.exporter:
        server.exporter.close_in_worker()
    share_with_workers(server.metrics_folder, worker.place)


def post_worker_init(worker: Any) -> None:
    """Open the pool after the fork: connections must not be shared by workers."""
    worker.wsgi.extensions["taskapi.database"].open()
    worker.wsgi.extensions["taskapi.metrics"].watch_pool()
    # What is there now stays, and the garbage collector needn't look through it again: each time
    # would stop all threads for 20 ms.
    gc.collect()
    gc.freeze()


def worker_exit(server: Any, worker: Any) -> None:
    """Close the pool after the last request; a worker that failed to start has none."""
    if hasattr(worker, "wsgi"):
        worker.wsgi.extensions["taskapi.database"].close()


def child_exit(server: Any, worker: Any) -> None:
    """Drop what a worker had, also one that was killed."""
    forget_worker(server.metrics_folder, worker.place)
    forget_clients(worker.age)


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    if server.exporter:
        server.exporter.stop()
    shutil.rmtree(server.metrics_folder, ignore_errors=True)
