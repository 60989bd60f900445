"""gunicorn's settings for Django: threads, as many as taskapi has, and idle connections as long."""

import os
from pathlib import Path

wsgi_app = "project.wsgi"
chdir = str(Path(__file__).parent)
bind = f"{os.environ['HOST']}:{os.environ['PORT']}"
worker_class = "gthread"
workers = int(os.environ["WEB_CONCURRENCY"])
threads = int(os.environ["WEB_THREADS"])
keepalive = 75
# It is shared by all gunicorns of one user.
control_socket_disable = True
# As taskapi's, which reads no proxy's headers.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108
