"""taskapi: a REST service that keeps each user's tasks, with raw SQL behind it."""

from __future__ import annotations

import re

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from taskapi.accounts import routes as accounts
from taskapi.accounts.key_set import KeySet
from taskapi.config import Config
from taskapi.database.pool import Database
from taskapi.operations import routes as operations
from taskapi.operations.logs import configure_logging, register_request_log
from taskapi.operations.metrics import register_metrics
from taskapi.tasks import routes as tasks
from taskapi.web.errors import register_errors
from taskapi.web.headers import BareResponse
from taskapi.web.json import OrjsonProvider
from taskapi.web.public_url import PublicUrl


def create_app(config: Config) -> Flask:
    """Return the WSGI application. The process that serves requests opens its database."""
    configure_logging(config)
    app = Flask("taskapi", static_folder=None)
    # No view or hook here is a coroutine. Flask takes 10 µs of each request to find that out
    # (make bench-hot-path).
    app.ensure_sync = lambda func: func  # type: ignore[method-assign]
    app.response_class = BareResponse
    app.json = OrjsonProvider(app)
    app.url_map.converters["default"] = tasks.Segment
    # A redirect to the right number of slashes would have an HTML body.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.extensions["taskapi.config"] = config
    database = app.extensions["taskapi.database"] = Database(config)
    app.extensions["taskapi.key_set"] = config.jwt_jwks_url and KeySet(config.jwt_jwks_url)
    if config.public_url:
        app.wsgi_app = PublicUrl(app.wsgi_app, config.public_url)  # type: ignore[method-assign]
    if proxies := config.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]
    register_request_log(app, database.usage, config.log_successes)
    register_metrics(app, database)
    register_errors(app)
    if config.cors_origins:
        CORS(
            app,
            # Flask-CORS guesses which strings are patterns, and matches these without an end.
            origins=[re.compile(rf"{re.escape(origin)}\Z") for origin in config.cors_origins],
            expose_headers=[
                "Accept-Patch",
                "ETag",
                "Idempotency-Replayed",
                "Link",
                "Location",
                "Retry-After",
                "WWW-Authenticate",
                "X-Request-ID",
            ],
            supports_credentials=True,
            max_age=600,
            # Only to requests with an Origin.
            always_send=False,
        )
    for blueprint in (accounts.bp, accounts.account_bp, tasks.bp, operations.bp):
        app.register_blueprint(blueprint)
    if config.docs:
        # Imported here so that DOCS=off doesn't load its packages.
        from taskapi.openapi import routes as docs  # noqa: PLC0415

        app.register_blueprint(docs.bp)
    return app
