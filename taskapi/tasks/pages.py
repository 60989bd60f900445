"""Pages of a list: the cursor that starts one, and the Link to the next (RFC 8288)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha384
from urllib.parse import quote, urlencode

from flask import request
from itsdangerous import BadData, URLSafeSerializer

from taskapi import config
from taskapi.exceptions import InvalidInput, fault
from taskapi.tasks.queries import Position
from taskapi.web.payloads import query_pairs
from taskapi.web.public_url import public_url

SIGNED = re.compile(r"[A-Za-z0-9_.-]+")


# The filters of the first release: part of the scope also if they are not given.
ALWAYS_IN_SCOPE = ("completed", "q")


def scope_of(filters: Mapping[str, object]) -> list[object]:
    """Return what a cursor's scope says of a list's filters.

    A filter that is added says nothing unless it is given, so that cursors outlive a release.
    """
    added = filters.keys() - ALWAYS_IN_SCOPE
    given = sorted((name, filters[name]) for name in added if filters[name] is not None)
    return [*(filters[name] for name in ALWAYS_IN_SCOPE), *given]


def read_cursor(cursor: str | None, *scope: object) -> Position | None:
    """Return the position in a cursor. None is the start of the list.

    Raises InvalidInput unless `link_next` made the cursor for the same scope.
    """
    if cursor is None:
        return None
    position = read_signed(cursor, *scope)
    if position is None:
        raise InvalidInput(fault("query", "cursor", "Must be a cursor of this list"))
    return Position(*position)


def link_next(after: Position, *scope: object) -> str:
    """Return a Link to the page after a position, with the request's other parameters.

    The scope is the list's user, order and filters.
    """
    cursor = sign(after, *scope)
    pairs = [pair for pair in query_pairs() if pair[0] != "cursor"]
    query = urlencode(
        [*pairs, ("cursor", cursor)], errors="surrogateescape", quote_via=quote, safe=""
    )
    url = public_url(str(request.endpoint), **(request.view_args or {}))
    return f'<{url}?{query}>; rel="next"'


def sign(value: Sequence[str], *scope: object) -> str:
    """Return a text for clients to send back, which `read_signed` reads for the same scope only."""
    text: str = _serializer(scope).dumps(value)
    return text


def read_signed(text: str, *scope: object) -> list[str] | None:
    """Return what `sign` was given for the same scope, or None."""
    # The decoder of the signature ignores other characters.
    if SIGNED.fullmatch(text):
        with suppress(BadData):
            value: list[str] = _serializer(scope).loads(text)
            return value
    return None


def _serializer(scope: tuple[object, ...]) -> URLSafeSerializer:
    # The scope is signed together with the position, but is not part of the cursor.
    salt = json.dumps(["taskapi.cursor", *scope])
    # URLSafeSerializer signs with the last secret.
    secrets = config.current().jwt_secrets[::-1]
    # SHA-384 has 48 bytes, which base64 writes in one way only.
    return URLSafeSerializer(secrets, salt=salt, signer_kwargs={"digest_method": sha384})
