"""The release before this one, from git."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from tests.support.service import ROOT

# The last commit of 1.0.0, and the last of its migrations.
COMMIT = "0e0b60084435a7d71f026167053c9ddf32e17713"
LAST_MIGRATION = 7


class NoHistory(Exception):
    """The checkout has no history; the message says what to do."""


def unpack_release_before(folder: Path) -> Path:
    """Unpack the release before into a new folder, and return it. Raises NoHistory."""
    try:
        done = subprocess.run(
            ["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False
        )
        said = done.stderr.decode()
    except FileNotFoundError as error:
        said = str(error)
    if said or not done.stdout:
        raise NoHistory(
            f"the release before, commit {COMMIT[:7]}, comes from git, which says: {said.strip()};"
            " run this in a clone with its whole history (git fetch --unshallow)"
        )
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder
