"""PostgreSQL is killed, stopped and restarted, and its standby takes over."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres, find_programs

from tests.faults.load import Load
from tests.faults.report import choose, conclude
from tests.support.fixtures import MakePostgres, MakeService
from tests.support.service import free_port, migrate, wait_until

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


class Pair:
    """A primary and a standby that every commit waits for; either can take the other's part."""

    def __init__(self, folder: Path, make_postgres: MakePostgres) -> None:
        self.folder = folder
        self.ports = [free_port(), free_port()]
        self.primary = make_postgres(port=str(self.ports[0]), listen_addresses="127.0.0.1")
        self.made = 0
        self.standbys: list[EmbeddedPostgres] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"

    def add_standby(self) -> EmbeddedPostgres:
        """Copy the primary, start the copy, and let commits wait for it from now on."""
        self.made += 1
        data_dir = self.folder / f"standby{self.made}"
        subprocess.run(
            [
                find_programs() / "pg_basebackup",
                f"--dbname={self.primary.url}",
                f"--pgdata={data_dir}",
                "--checkpoint=fast",
                "--write-recovery-conf",
            ],
            check=True,
            capture_output=True,
        )
        owner = self.primary.data_dir.stat()
        for path in (data_dir, *data_dir.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        port, other = self.ports if self.made % 2 == 0 else reversed(self.ports)
        standby = EmbeddedPostgres(
            data_dir,
            settings={
                "port": str(port),
                "listen_addresses": "127.0.0.1",
                "cluster_name": "standby",
                "primary_conninfo": f"host=127.0.0.1 port={other} user=postgres",
            },
        )
        self.standbys.append(standby)
        standby.start()
        with psycopg.connect(self.primary.url, autocommit=True) as dba:
            dba.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            dba.execute("SELECT pg_reload_conf()")
            query = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            wait_until("the standby", lambda: dba.execute(query).fetchone() is not None)
        return standby

    def promote(self, standby: EmbeddedPostgres) -> None:
        self.primary = standby
        with psycopg.connect(standby.url, autocommit=True) as dba:
            dba.execute("SELECT pg_promote()")
            dba.execute("ALTER SYSTEM RESET synchronous_standby_names")
            dba.execute("SELECT pg_reload_conf()")


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
        for standby in pair.standbys:
            standby.stop()
            shutil.rmtree(standby.data_dir, ignore_errors=True)
