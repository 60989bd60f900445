"""gunicorn's settings, in production as in `make run`. The environment sets what varies."""

import sys
from typing import Any

from taskapi.config import ConfigError, load_config

try:
    _config = load_config()
except ConfigError as error:
    sys.exit(f"taskapi: {error}")

bind = (
    f"[{_config.host}]:{_config.port}" if ":" in _config.host else f"{_config.host}:{_config.port}"
)
worker_class = "taskapi.worker.DrainingWorker"
workers = _config.web_concurrency
threads = _config.web_threads
loglevel = _config.log_level
# Above the 60 s for which nginx keeps an idle connection, so that nginx is the one to close it:
# else it may send a request on a connection that is just being closed.
keepalive = 75
# Above the longest request: the wait for a connection and a statement at its time limit.
graceful_timeout = 30
# taskapi logs each request itself, with its id.
accesslog = None
# What proxies say is read in one place, by TRUSTED_PROXIES: gunicorn would believe whoever comes
# from this machine, and any Unix socket's peer, and let them set the path.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
# It is shared by all gunicorns of one user and nobody here uses it.
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Open the pool after the fork: connections must not be shared by workers."""
    worker.wsgi.extensions["taskapi.database"].open()


def worker_exit(server: Any, worker: Any) -> None:
    """Close the pool after the last request; a worker that failed to start has none."""
    if hasattr(worker, "wsgi"):
        worker.wsgi.extensions["taskapi.database"].close()
