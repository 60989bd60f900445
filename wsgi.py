"""The WSGI entry point: `gunicorn --config gunicorn.conf.py wsgi:app`."""

import sys

from taskapi import create_app
from taskapi.config import ConfigError, load_config

try:
    app = create_app(load_config())
except ConfigError as error:
    sys.exit(f"taskapi: {error}")
