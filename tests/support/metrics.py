"""What a service tells Prometheus."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.service import NO_AUTHORITIES, PATIENCE, Service


def get_metrics(service: Service) -> httpx.Response:
    """Ask for the metrics on a new connection."""
    return httpx.get(f"{service.metrics_url}/metrics", timeout=PATIENCE, verify=NO_AUTHORITIES)


def read_metrics(service: Service) -> dict[tuple[str, ...], float]:
    """Return each sample's value by its name and its labels' values, in the labels' order."""
    response = get_metrics(service)
    assert response.status_code == 200
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
