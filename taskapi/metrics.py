"""What Prometheus is told at /metrics: all workers of a gunicorn as one.

Each worker writes its figures into files, and whoever is asked adds up all of them. The files are
of places, not of processes: gunicorn.conf.py gives each worker the first that is free, where it
goes on from its predecessor's counters. So they neither pile up nor ever fall back.
"""

from __future__ import annotations

import os
import platform
import threading
from functools import cache

from flask import Flask, Response, current_app, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

from taskapi.db import Database
from taskapi.logs import route, seconds_since_start
from taskapi.version import VERSION

# Whoever makes up methods shall not make up time series.
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
# Seconds: from a read of one row to all that a request may wait.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Seconds between two looks at the pool.
INTERVAL = 1.0

# A process is alone unless it says otherwise: prometheus_client would go by a variable.
values.ValueClass = values.MutexValue


def share_with_workers(folder: str, place: int) -> None:
    """Keep the metrics that this process makes from now on in this folder's files of a place."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def forget_worker(folder: str, place: int) -> None:
    """Drop the gauges of a worker that has ended; its counters stay."""
    multiprocess.mark_process_dead(place, folder)  # type: ignore[no-untyped-call]


class Metrics:
    """The figures of one process, and of all that share their files with it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registry = registry = CollectorRegistry()
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
        # Children by their labels: finding one costs a third of what labels() does.
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
                ("used", "Connections that a request has"),
                ("waiting", "Requests that wait for a connection"),
                ("max", "Connections that may be open"),
            )
        }
        build = Gauge(
            "taskapi_build_info",
            "What runs here",
            ["version", "python"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        build.labels(VERSION, platform.python_version()).set(1)

    def watch_pool(self) -> None:
        """Keep the pool's gauges up to date, from now on, in a thread."""
        threading.Thread(target=self._watch_pool, name="taskapi-metrics", daemon=True).start()

    def _watch_pool(self) -> None:
        never = threading.Event()
        self._look_at_pool()
        while not never.wait(INTERVAL):
            self._look_at_pool()

    def _look_at_pool(self) -> None:
        for name, value in self._database.pool_state()._asdict().items():
            self._pool[name].set(value)

    def render(self) -> bytes:
        """Return the figures of all workers, as Prometheus reads them."""
        self._look_at_pool()
        registry = self._registry
        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def register_metrics(app: Flask, database: Database) -> None:
    """Count each request, and what it cost the database."""
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


def current() -> Metrics:
    """Return the metrics of the application that serves this request."""
    metrics: Metrics = current_app.extensions["taskapi.metrics"]
    return metrics
