"""An identity provider's public keys: a JSON Web Key Set (RFC 7517), fetched when needed."""

from __future__ import annotations

import http.client
import logging
import math
import threading
import time

import jwt
from flask import current_app

from taskapi.exceptions import IdentityProviderUnavailable, InvalidToken

# Each fits one type of key, and none is symmetric: a public key is never used as a secret.
ALGORITHMS = ("EdDSA", "ES256", "RS256")
# Seconds until the keys are fetched again, so that a withdrawn key stops working.
LIFETIME = 300
# Seconds between two fetches, however many tokens name unknown keys.
COOLDOWN = 10
# Seconds that a fetch may take.
TIMEOUT = 3

logger = logging.getLogger("taskapi")


class KeySet:
    """The keys at a URL, as this process last fetched them. Threads share it."""

    def __init__(self, url: str) -> None:
        # PyJWKClient's cache loses the keys that it can't fetch again, and ignores failed fetches.
        self._client = jwt.PyJWKClient(
            url, cache_jwk_set=False, timeout=TIMEOUT, headers={"User-Agent": "taskapi"}
        )
        self._keys: dict[str, jwt.PyJWK] = {}
        self._lock = threading.Lock()
        self._tried_at = self._fetched_at = -math.inf
        self._is_available = False

    def find(self, key_id: str) -> jwt.PyJWK:
        """Return the key with this id, fetching the keys if it is unknown or they are old.

        While the provider can't be reached, known keys stay valid. Raises InvalidToken for a key
        that the provider doesn't have, and IdentityProviderUnavailable if that is unknown.
        """
        if key_id not in self._keys:
            self._fetch(wait=TIMEOUT)
        elif time.monotonic() - self._fetched_at > LIFETIME:
            # One request fetches the keys, the others use the known ones.
            self._fetch(wait=0)
        key = self._keys.get(key_id)
        if key is None:
            raise InvalidToken if self._is_available else IdentityProviderUnavailable(COOLDOWN)
        return key

    def _fetch(self, wait: float) -> None:
        """Replace the keys, unless that was tried less than COOLDOWN ago."""
        if not self._lock.acquire(timeout=wait):
            return
        try:
            if time.monotonic() - self._tried_at < COOLDOWN:
                return
            self._tried_at = time.monotonic()
            self._is_available = False
            keys = self._client.get_signing_keys()
            self._keys = {
                key.key_id: key for key in keys if key.key_id and key.algorithm_name in ALGORITHMS
            }
            self._fetched_at = time.monotonic()
            self._is_available = True
        except (jwt.PyJWTError, OSError, ValueError, http.client.HTTPException) as error:
            logger.warning("The keys of JWT_JWKS_URL can't be fetched: %s", type(error).__name__)
        finally:
            self._lock.release()


def current() -> KeySet | None:
    """Return the current application's keys of JWT_JWKS_URL, if it is set."""
    key_set: KeySet | None = current_app.extensions["taskapi.key_set"]
    return key_set
