"""Idempotency-Key: a POST that can be repeated without creating a second task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson
from flask import request

from taskapi.exceptions import InvalidInput, fault

KEY = re.compile(r"[!-~]{1,255}")

# Part of the hash also if they were not sent, as in the first release.
ALWAYS_HASHED = ("title", "description", "completed")


def read_key() -> str | None:
    """Return the request's Idempotency-Key, if it has one. Raises InvalidInput."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        message = "Must have 1 to 255 visible ASCII characters"
        raise InvalidInput(fault("header", "idempotency-key", message))
    return key


def hash_request(body: Mapping[str, Any], members: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of the members of a request: those of `members` that `body` has.

    `members` are the checked ones, with defaults. A default that a later release adds doesn't
    change the hash, so a retry is recognized across releases. White space, the order of members and
    members that are ignored don't count: clients don't write the same object the same way twice.
    """
    hashed = {name: members.get(name) for name in ALWAYS_HASHED}
    hashed |= {name: value for name, value in members.items() if name in body}
    return sha256(orjson.dumps(hashed, option=orjson.OPT_SORT_KEYS)).digest()
