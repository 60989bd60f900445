"""taskapi: a REST service that keeps each user's tasks, with raw SQL behind it."""

from __future__ import annotations

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from taskapi.config import Config
from taskapi.db import Database
from taskapi.errors import register_errors
from taskapi.headers import BareResponse
from taskapi.json_provider import OrjsonProvider
from taskapi.key_set import KeySet
from taskapi.logs import configure_logging, register_request_log
from taskapi.metrics import register_metrics
from taskapi.views import auth, health, index, metrics, tasks


def create_app(config: Config) -> Flask:
    """Return the WSGI application. Its database is closed: the process that serves opens it."""
    configure_logging(config)
    app = Flask("taskapi", static_folder=None)
    # None of our functions is a coroutine, and Flask spends 10 µs of a request to find that out.
    app.ensure_sync = lambda func: func  # type: ignore[method-assign]
    app.response_class = BareResponse
    app.json = OrjsonProvider(app)
    # A redirect to the right number of slashes would be an answer in HTML.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.extensions["taskapi.config"] = config
    database = app.extensions["taskapi.database"] = Database(config)
    app.extensions["taskapi.key_set"] = config.jwt_jwks_url and KeySet(config.jwt_jwks_url)
    if config.trusted_proxies:
        # The client's address alone: nothing here depends on the host or scheme of the request.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=config.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    register_request_log(app, database.usage, config.log_successes)
    register_metrics(app, database)
    register_errors(app)
    if config.cors_origins:
        CORS(
            app,
            origins=list(config.cors_origins),
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
            max_age=600,
        )
    for blueprint in (auth.bp, tasks.bp, health.bp, metrics.bp, index.bp):
        app.register_blueprint(blueprint)
    if config.docs:
        # Its packages aren't loaded where nobody reads it.
        from taskapi.views import docs  # noqa: PLC0415

        app.register_blueprint(docs.bp)
    return app
