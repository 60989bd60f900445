"""The workers of a gunicorn."""

from __future__ import annotations

import signal

import psutil

from tests.support.service import PATIENCE, Service, wait_until


def workers_of(service: Service) -> list[psutil.Process]:
    """Return the workers that live."""
    assert service.process is not None
    return [child for child in psutil.Process(service.process.pid).children() if is_alive(child)]


def is_alive(process: psutil.Process) -> bool:
    """Tell whether it runs; one that gunicorn has not yet noted to be dead doesn't."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def reload_workers(service: Service) -> None:
    """Send HUP and wait until the old workers are gone and new ones answer."""
    assert service.process is not None
    old = workers_of(service)
    service.process.send_signal(signal.SIGHUP)
    psutil.wait_procs(old, PATIENCE)
    wait_until("new workers", lambda: len(workers_of(service)) == 2)
    wait_until("the service", lambda: service.answers("/ready"))


def memory_of(service: Service) -> float:
    """Return what the workers use, in MiB: each page that they share counts once (PSS)."""
    return float(sum(child.memory_full_info().pss for child in workers_of(service)) / 2**20)
