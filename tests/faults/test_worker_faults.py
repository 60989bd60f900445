"""gunicorn is reloaded, and its workers are killed, without a proxy in front."""

from __future__ import annotations

import random

import pytest

from tests.faults.load import Load
from tests.faults.report import choose, conclude
from tests.support.fixtures import MakeService
from tests.support.service import wait_until
from tests.support.workers import is_alive, reload_workers, workers_of

pytestmark = pytest.mark.slow


def test_reloads(own_url: str, make_service: MakeService) -> None:
    """A client may meet a connection that is just being closed, as HTTP has it; no more."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    load = Load(service)
    rounds = choose(2, 10)
    with load.running():
        for _ in range(rounds):
            reload_workers(service)
            load.wait_for_success()
    conclude(load, own_url, "1a. gunicorn reloaded with HUP, no proxy", rounds)
    assert set(load.failures) <= {0}


def test_workers_that_are_killed(own_url: str, make_service: MakeService) -> None:
    """The other worker goes on, and gunicorn starts a new one."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    load = Load(service)
    rounds = choose(3, 20)
    chance = random.Random(rounds)
    with load.running():
        for _ in range(rounds):
            victim = chance.choice(workers_of(service))
            victim.kill()
            wait_until("the worker's end", lambda victim=victim: not is_alive(victim))  # type: ignore[misc]
            wait_until("a new worker", lambda: len(workers_of(service)) == 2)
            load.wait_for_success()
    conclude(load, own_url, "1b. gunicorn worker killed with SIGKILL, no proxy", rounds)
