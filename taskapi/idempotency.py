"""Idempotency-Key: a request that may be repeated without being done twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson
from flask import request

from taskapi.exceptions import InvalidInput, fault

KEY = re.compile(r"[!-~]{1,255}")


def read_key() -> str | None:
    """Return the request's Idempotency-Key, if it has one. Raises InvalidInput."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        message = "Must have 1 to 255 visible ASCII characters"
        raise InvalidInput(fault("header", "idempotency-key", message))
    return key


def hash_request(members: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of what a request asks for.

    Bodies that differ only in white space, in the order of their members or in ignored members ask
    for the same: not every client writes the same object in the same way twice.
    """
    return sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()
