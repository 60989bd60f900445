"""The units in deploy/systemd, as systemd itself reads them; none is running here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from taskapi.config import load_config
from tests.support.service import PATIENCE, ROOT, SECRET

UNITS = sorted((ROOT / "deploy/systemd").iterdir())
SERVICES = [unit.name for unit in UNITS if unit.suffix == ".service"]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with the units, whose /opt/taskapi is this checkout."""
    (tmp_path / "taskapi").symlink_to(ROOT)
    for unit in UNITS:
        text = unit.read_text().replace("/opt/taskapi", f"{tmp_path}/taskapi")
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def analyze(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, which needs no systemd at work."""
    command = ["systemd-analyze", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def settings(unit: str, name: str) -> list[str]:
    """Return the values of a setting, in the order of the unit."""
    text = (ROOT / "deploy/systemd" / unit).read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def test_systemd_finds_no_fault(units: Path) -> None:
    done = analyze("verify", *(units / unit.name for unit in UNITS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_would_find_one(units: Path) -> None:
    (units / "taskapi.service").write_text("[Service]\nExecStart=/nowhere/at/all\nNoSuch=1\n")
    assert analyze("verify", units / "taskapi.service").returncode != 0


@pytest.mark.parametrize("service", SERVICES)
def test_its_exposure_is_low(units: Path, service: str) -> None:
    """Of 10, where a unit without any sandbox has 9.6. The threshold is in tenths."""
    done = analyze("security", "--offline=true", "--threshold=12", units / service)
    assert done.returncode == 0, done.stdout


def test_all_services_have_the_same_sandbox() -> None:
    sandboxes = set()
    for unit in SERVICES:
        text = (ROOT / "deploy/systemd" / unit).read_text()
        sandboxes.add(text[text.index("\nUMask=") :].partition("\n\n")[0].strip())
    assert len(sandboxes) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_what_it_uses_is_limited(service: str) -> None:
    """To more than it needs: a thread is a task, and each worker may have 1,000 clients."""
    names = ("MemoryMax", "TasksMax", "LimitNOFILE")
    [memory], [tasks], [files] = (settings(service, name) for name in names)
    assert re.fullmatch(r"[0-9]+[MG]", memory)
    if service == "taskapi.service":
        config = load_config({"DATABASE_URL": "postgresql://x", "JWT_SECRET": SECRET})
        assert int(tasks) > config.web_concurrency * (config.web_threads + 10) * 2
        assert int(files) > 1000 + config.db_pool_max + 100
        assert settings(service, "OOMPolicy") == ["continue"]


def test_the_metrics_have_an_address_of_this_machine() -> None:
    [variable] = settings("taskapi.service", "Environment")
    name, _, value = variable.partition("=")
    config = load_config({"DATABASE_URL": "postgresql://x", "JWT_SECRET": SECRET, name: value})
    assert config.metrics_bind == ("127.0.0.1", 9464)


def test_requests_have_time_to_end_before_the_service_is_killed() -> None:
    [stop] = settings("taskapi.service", "TimeoutStopSec")
    config = (ROOT / "gunicorn.conf.py").read_text()
    [graceful] = re.findall(r"^graceful_timeout = (\d+)$", config, re.MULTILINE)
    assert int(stop) > int(graceful)


def test_nginx_finds_the_socket() -> None:
    [address] = settings("taskapi.socket", "ListenStream")
    assert f"server {address} " in (ROOT / "deploy/nginx.conf").read_text()
