"""Prometheus metrics of all workers of a gunicorn together.

Each worker writes its metrics to files, and gunicorn's main process adds them all up. A file
belongs to a slot, not to a process: gunicorn.conf.py gives each worker the first free slot, where
it continues its predecessor's counters. So files don't pile up, and counters never go back.
"""

from __future__ import annotations

import os
import platform
import threading
from functools import cache

from flask import Flask, Response, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

from taskapi.database.pool import Database
from taskapi.operations.logs import UNMATCHED, route, seconds_since_start
from taskapi.version import VERSION

# Other methods are counted as "other", so that clients can't create time series.
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
# Seconds, from a read of one row to the longest that a request may wait.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Seconds between two updates of the pool's gauges.
INTERVAL = 1.0

# A process has metrics of its own until it calls share_with_workers. prometheus_client would decide
# by an environment variable.
values.ValueClass = values.MutexValue


def share_with_workers(folder: str, slot: int) -> None:
    """Keep the metrics that this process creates from now on in the folder's files of a slot."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]


def forget_worker(folder: str, slot: int) -> None:
    """Remove the gauges of a worker that has ended. Its counters stay."""
    multiprocess.mark_process_dead(slot, folder)  # type: ignore[no-untyped-call]


def render(folder: str) -> bytes:
    """Return the metrics of all workers in Prometheus's text format."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class Metrics:
    """The metrics of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        registry = CollectorRegistry()
        routed = ["route", "method"]
        self._requests = Counter(
            "taskapi_requests", "Requests answered", [*routed, "status"], registry=registry
        )
        self._duration = Histogram(
            "taskapi_request_duration_seconds",
            "Time from reading a request to its answer",
            routed,
            buckets=BUCKETS,
            registry=registry,
        )
        # The children by their labels: a cached one costs a third of labels().
        self.requests = cache(self._requests.labels)
        self.duration = cache(self._duration.labels)
        self.round_trips = Counter(
            "taskapi_db_round_trips", "Statements sent to the database", registry=registry
        )
        self.wait_seconds = Counter(
            "taskapi_db_pool_wait_seconds", "Time spent waiting for a connection", registry=registry
        )
        self.connections_lost = Counter(
            "taskapi_db_connections_lost", "Connections found broken", registry=registry
        )
        self.login_failures = Counter(
            "taskapi_login_failures", "Logins refused for wrong credentials", registry=registry
        )
        self._pool = {
            name: Gauge(
                f"taskapi_db_pool_{name}", text, multiprocess_mode="livesum", registry=registry
            )
            for name, text in (
                ("size", "Connections open"),
                ("used", "Connections that requests use"),
                ("waiting", "Requests waiting for a connection"),
                ("max", "Connections allowed"),
            )
        }
        build = Gauge(
            "taskapi_build_info",
            "Version of the service and of Python",
            ["version", "python"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        build.labels(VERSION, platform.python_version()).set(1)

    def count_refusal(self, status: int) -> None:
        """Count a request that gunicorn refused: it has no route."""
        self.requests(UNMATCHED, "other", status).inc()

    def watch_pool(self) -> None:
        """Start a thread that keeps the pool's gauges up to date."""
        threading.Thread(target=self._watch_pool, name="taskapi-metrics", daemon=True).start()

    def _watch_pool(self) -> None:
        never = threading.Event()
        self._update_pool()
        while not never.wait(INTERVAL):
            self._update_pool()

    def _update_pool(self) -> None:
        for name, value in self._database.pool_state()._asdict().items():
            self._pool[name].set(value)


def register_metrics(app: Flask, database: Database) -> None:
    """Count each request and its use of the database."""
    metrics = app.extensions["taskapi.metrics"] = Metrics(database)

    @app.after_request
    def count_request(response: Response) -> Response:
        pattern, status = route(), response.status_code
        method = request.method if request.method in METHODS else "other"
        metrics.requests(pattern, method, status).inc()
        metrics.duration(pattern, method).observe(seconds_since_start())
        usage = database.usage
        if usage.round_trips:
            metrics.round_trips.inc(usage.round_trips)
        if usage.waited:
            metrics.wait_seconds.inc(usage.waited)
        if usage.lost:
            metrics.connections_lost.inc(usage.lost)
        if status == 401 and request.endpoint == "auth.log_in":
            metrics.login_failures.inc()
        return response
