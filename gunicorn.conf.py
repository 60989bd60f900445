"""gunicorn's settings, in production as in `make run`. The environment sets what varies."""

import sys
from typing import Any

from gunicorn import glogging

from taskapi.config import ConfigError, load_config
from taskapi.logs import make_formatter

try:
    _config = load_config()
except ConfigError as error:
    sys.exit(f"taskapi: {error}")

bind = (
    f"[{_config.host}]:{_config.port}" if ":" in _config.host else f"{_config.host}:{_config.port}"
)
worker_class = "gthread"
workers = _config.web_concurrency
threads = _config.web_threads
loglevel = _config.log_level
# Above the 60 s for which nginx keeps an idle connection, so that nginx is the one to close it:
# else it may send a request on a connection that is just being closed.
keepalive = 75
# Above the longest request: the wait for a connection and a statement at its time limit.
graceful_timeout = 30
# taskapi logs each request itself, with its id; gunicorn's own log would cost more than all of it.
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


def post_worker_init(worker: Any) -> None:
    """Open the pool after the fork: connections must not be shared by workers."""
    worker.wsgi.extensions["taskapi.database"].open()


def worker_exit(server: Any, worker: Any) -> None:
    """Close the pool after the last request; a worker that failed to start has none."""
    if hasattr(worker, "wsgi"):
        worker.wsgi.extensions["taskapi.database"].close()
