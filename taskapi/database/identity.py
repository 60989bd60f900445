"""The signature that makes PostgreSQL believe for whom a statement acts.

Without it, SQL that runs with the service's login could call set_config and be any user. The key is
derived from a secret that the service has, and is in a table that only its owner reads.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Sequence
from typing import NamedTuple

# So that the key that the database has tells nothing about the secret.
PURPOSE = b"taskapi: identity in PostgreSQL"
# Seconds for which a signature is valid, besides the time that a statement may take: by how much
# the clocks of the service and the database may differ. Kerberos allows as much.
TOLERANCE = 300.0


class Pads(NamedTuple):
    """A key as HMAC uses it: PostgreSQL has SHA-256, and no HMAC."""

    inner: bytes
    outer: bytes


def derive_key(secret: str) -> bytes:
    """Return the key of a secret."""
    return hmac.digest(os.fsencode(secret), PURPOSE, "sha256")


def pads_of(key: bytes) -> Pads:
    """Return the two blocks that HMAC-SHA256 begins with (RFC 2104)."""
    block = key.ljust(64, b"\0")
    return Pads(bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block))


class Signer:
    """Signs identities with the first of the keys. `longest` is the longest statement's time."""

    def __init__(self, keys: Sequence[bytes], longest: float) -> None:
        self._key = keys[0]
        self._lifetime = longest + TOLERANCE

    def sign(self, role: str, subject: str) -> dict[str, str]:
        """Return `act_as`'s parameters for a user, an email or nobody."""
        expires_at = str(round(time.time() + self._lifetime))
        message = f"{role}\n{expires_at}\n{subject}".encode()
        return {
            "expires_at": expires_at,
            "signature": hmac.digest(self._key, message, "sha256").hex(),
        }
