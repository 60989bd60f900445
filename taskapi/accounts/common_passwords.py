"""The most common passwords, which guessers try first."""

from __future__ import annotations

import runpy
from importlib.metadata import distribution

# How many of the list, from its top.
COUNT = 10_000
# No password is shorter.
MIN_LENGTH = 8


def _read_list() -> frozenset[str]:
    """Read zxcvbn's list of passwords, which has lower case only.

    The file alone: importing zxcvbn would also load its dictionaries and keep them, 20 MB.
    """
    path = distribution("zxcvbn").locate_file("zxcvbn/frequency_lists.py")
    passwords: list[str] = runpy.run_path(str(path))["FREQUENCY_LISTS"]["passwords"]
    return frozenset(password for password in passwords[:COUNT] if len(password) >= MIN_LENGTH)


COMMON_PASSWORDS = _read_list()
