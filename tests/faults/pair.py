"""A primary and its synchronous standby."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
from embedded_postgres import EmbeddedPostgres, find_programs

from tests.support.fixtures import MakePostgres
from tests.support.service import free_port, wait_until


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

    def close(self) -> None:
        """End the standbys and remove their data."""
        for standby in self.standbys:
            standby.stop()
            shutil.rmtree(standby.data_dir, ignore_errors=True)

    def promote(self, standby: EmbeddedPostgres) -> None:
        self.primary = standby
        with psycopg.connect(standby.url, autocommit=True) as dba:
            dba.execute("SELECT pg_promote()")
            dba.execute("ALTER SYSTEM RESET synchronous_standby_names")
            dba.execute("SELECT pg_reload_conf()")
