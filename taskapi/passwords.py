"""Password hashes: Argon2id, with the parameters that OWASP recommends."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# Checked where there is no account, so that an unknown address takes as long as a wrong password.
_UNKNOWN = _hasher.hash("no account has this password")


def hash_password(password: str) -> str:
    """Return a salted Argon2id hash in its standard encoding."""
    return _hasher.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether the password is the one; with no hash it isn't, after the same work."""
    try:
        _hasher.verify(password_hash or _UNKNOWN, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
