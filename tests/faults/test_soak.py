"""Mixed load for a long time: what grows."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.faults.load import Load
from tests.faults.report import choose, conclude
from tests.support.fixtures import MakeService
from tests.support.workers import memory_of

pytestmark = pytest.mark.slow


def count_connections(dba: psycopg.Connection) -> int:
    row = dba.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskapi'"
        " AND datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_soak(own_url: str, make_service: MakeService) -> None:
    """Memory and connections at the end are what they were once all had been in use."""
    service = make_service(DATABASE_URL=own_url)
    service.start()
    load = Load(service)
    seconds = choose(10, 600)
    with psycopg.connect(own_url, autocommit=True) as dba, load.running():
        began = time.monotonic()
        # Code and plans are loaded, and all connections that this load needs are made.
        time.sleep(seconds / 10)
        before = memory_of(service), count_connections(dba)
        time.sleep(seconds * 0.9)
        after = memory_of(service), count_connections(dba)
        rate = len(load.exchanges) / (time.monotonic() - began)
    assert not load.failures
    notes = (
        f"{seconds} s at {rate:.0f} requests a second; from the first tenth to the end memory "
        f"{before[0]:.1f} → {after[0]:.1f} MiB, connections {before[1]} → {after[1]}"
    )
    conclude(load, own_url, "6. Soak", 1, notes)
    assert after[0] < 1.5 * before[0]
    # Two workers of eight threads each.
    assert after[1] <= 16
