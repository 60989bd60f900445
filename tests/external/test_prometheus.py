"""Alerts and dashboard: right by promtool, about metrics that exist, and explained."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.accounts import Account
from tests.support.metrics import get_metrics
from tests.support.service import PATIENCE, ROOT, Service

FOLDER = ROOT / "deploy/prometheus"
ALERTS = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
OPERATING = (ROOT / "docs/operating.md").read_text()


def dashboard_expressions() -> list[str]:
    """Return the dashboard's queries, as Prometheus gets them."""
    return [
        target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]


def promtool(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool, which needs no Prometheus at work."""
    return subprocess.run(
        ["promtool", *args], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_each_alert_comes_when_it_should_and_only_then() -> None:
    done = promtool("test", "rules", FOLDER / "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_its_test_needs_the_alert(alert: dict[str, Any], tmp_path: Path) -> None:
    """With a condition that never holds the tests fail."""
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    for rule in [rule for group in rules["groups"] for rule in group["rules"]]:
        if rule["alert"] == alert["alert"]:
            rule["expr"] = f"({rule['expr']}) unless on () vector(1)"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    tests = (FOLDER / "alerts_test.yml").read_text()
    (tmp_path / "alerts_test.yml").write_text(tests)
    assert promtool("test", "rules", tmp_path / "alerts_test.yml").returncode != 0


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_waits_and_leads_to_its_runbook(alert: dict[str, Any]) -> None:
    assert alert["for"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]
    anchor = alert["alert"].lower()
    assert alert["annotations"]["runbook"] == f"docs/operating.md#{anchor}"
    _, found, rest = OPERATING.partition(f"\n### {alert['alert']}\n")
    assert found
    assert len(rest.partition("\n#")[0].split()) > 20


def test_the_dashboards_queries_are_prometheus_own(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel_{n}", "expr": expression}
        for n, expression in enumerate(dashboard_expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_panels_lie_beside_each_other() -> None:
    cells = [
        (x, y)
        for position in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_what_is_asked_for_is_what_the_service_tells(user: Account, service: Service) -> None:
    """Every metric that alerts and dashboard name exists; and each that exists is explained."""
    user.create()
    told = set(re.findall(r"^(taskapi_\w+)[{ ]", get_metrics(service).text, re.MULTILINE))
    asked = [*dashboard_expressions(), *(rule["expr"] for rule in ALERTS)]
    names = set(re.findall(r"\btaskapi_\w+", " ".join(asked)))
    assert names <= told
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in told}
    section = OPERATING.partition("\n## What the metrics mean\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(taskapi_\w+)`", section)) == families - {
        name for name in families if name.endswith("_created")
    }
