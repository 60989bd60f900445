"""Pages with commands: blocks of shell, whose lines that begin with `#>` say what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.service import PATIENCE, ROOT


def read_blocks(page: str, language: str = "sh") -> list[str]:
    """Return the blocks of a page in a language, by default of shell commands, in their order."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def find_command(name: str) -> str:
    """Return the block of examples/README.md that has this word."""
    [block] = [
        each for each in read_blocks((ROOT / "examples" / "README.md").read_text()) if name in each
    ]
    return block


def run_commands(page: str, folder: Path, variables: Mapping[str, str]) -> str:
    """Run a page's commands in a folder, in one shell, and return what they print."""
    return run_shell("".join(read_blocks(page)), folder, variables)


def run_shell(script: str, folder: Path, variables: Mapping[str, str]) -> str:
    """Run commands in a folder, up to the first that fails, and return what they print."""
    process = subprocess.Popen(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=PATIENCE * 4)
    finally:
        # What it started ends with it, whatever has failed.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    assert process.returncode == 0, printed
    return printed


def assert_printed(page: str, printed: str) -> None:
    """What was printed has the page's lines after `#>`, in order; … stands for anything."""
    rest = printed
    for line in re.findall(r"^#> (.*)$", "".join(read_blocks(page)), re.MULTILINE):
        found = re.search(re.escape(line).replace("…", ".*"), rest)
        assert found, f"{line!r} isn't printed in its place:\n{printed}"
        rest = rest[found.end() :]
