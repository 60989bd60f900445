"""What Prometheus reads: /metrics."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from taskapi import metrics

bp = Blueprint("metrics", __name__)


@bp.get("/metrics")
def show_metrics() -> Response:
    """Show the figures of all workers; asks no database and no token."""
    return Response(metrics.current().render(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
