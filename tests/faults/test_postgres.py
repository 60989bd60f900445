"""PostgreSQL is killed, stopped and restarted, and its standby takes over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.load import Load
from tests.faults.pair import Pair
from tests.faults.report import choose, conclude
from tests.support.fixtures import MakePostgres, MakeService
from tests.support.service import migrate

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("how", "scenario"),
    [
        ("kill", "2a. PostgreSQL killed with SIGKILL and started again"),
        ("stop", "2b. PostgreSQL stopped fast and started again"),
    ],
)
def test_a_server_that_goes_and_comes_back(
    make_postgres: MakePostgres, make_service: MakeService, how: str, scenario: str
) -> None:
    postgres = make_postgres(fsync="on")
    migrate(postgres.url)
    service = make_service(DATABASE_URL=postgres.url, DB_POOL_TIMEOUT="1")
    service.start()
    load = Load(service)
    rounds = choose(2, 10)
    back = []
    with load.running():
        for _ in range(rounds):
            getattr(postgres, how)()
            load.wait_for_failure()
            postgres.start()
            started = time.monotonic()
            load.wait_for_success()
            back.append(time.monotonic() - started)
    notes = f"all clients served again at most {max(back):.1f} s after the server was ready"
    conclude(load, postgres.url, scenario, rounds, notes)


def test_a_restart_while_idle(make_postgres: MakePostgres, make_service: MakeService) -> None:
    """The very first request after it succeeds, whatever it is."""
    postgres = make_postgres(fsync="on")
    migrate(postgres.url)
    service = make_service(DATABASE_URL=postgres.url)
    service.start()
    load = Load(service)
    rounds = choose(2, 10)
    with load.running():
        load.wait_for_success()
    for _ in range(rounds):
        postgres.stop()
        postgres.start()
        with load.running():
            load.wait_for_success()
    assert not load.failures
    conclude(load, postgres.url, "2c. PostgreSQL restarted while the service is idle", rounds)


def test_a_failover(make_postgres: MakePostgres, make_service: MakeService, tmp_path: Path) -> None:
    """The service finds the new primary by itself."""
    pair = Pair(tmp_path, make_postgres)
    migrate(pair.primary.url)
    service = make_service(DATABASE_URL=pair.url, DB_POOL_TIMEOUT="1")
    service.start()
    load = Load(service)
    rounds = choose(1, 5)
    after_kill, after_promotion = [], []
    try:
        with load.running():
            for _ in range(rounds):
                standby = pair.add_standby()
                load.wait_for_success()
                killed = time.monotonic()
                pair.primary.kill()
                load.wait_for_failure()
                pair.promote(standby)
                promoted = time.monotonic()
                load.wait_for_success()
                first = min(e.ended for e in load.exchanges if e.succeeded and e.began > promoted)
                after_kill.append(first - killed)
                after_promotion.append(first - promoted)
        notes = (
            f"first success at most {max(after_kill):.1f} s after the kill, "
            f"{max(after_promotion):.2f} s after the promotion"
        )
        scenario = "3. Primary killed, its synchronous standby promoted"
        conclude(load, pair.primary.url, scenario, rounds, notes)
    finally:
        pair.close()
