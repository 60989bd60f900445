"""Pages of a list: the cursor where one begins, and the Link to the next (RFC 8288)."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

from flask import request, url_for
from itsdangerous import BadData, URLSafeSerializer

from taskapi import config
from taskapi.exceptions import InvalidInput, fault
from taskapi.queries import Position, Task
from taskapi.schemas import query_pairs


def read_cursor(cursor: str | None, *scope: object) -> Position | None:
    """Return the position that a cursor stands for; none is the start.

    Raises InvalidInput for one that `link_next` didn't write for this scope.
    """
    if cursor is None:
        return None
    serializer = _serializer(scope)
    try:
        position = Position(*serializer.loads(cursor))
    except BadData:
        position = None
    # Base64 can be written in several ways, of which we write one.
    if position is None or serializer.dumps(position) != cursor:
        raise InvalidInput(fault("query", "cursor", "Must be a cursor of this list"))
    return position


def link_next(last: Task, *scope: object) -> str:
    """Return a Link to the page after the last task of this one, with the same parameters.

    The scope is whose list it is, in which order and with which filters.
    """
    cursor = _serializer(scope).dumps(Position(last["created_at"], last["id"]))
    pairs = [pair for pair in query_pairs() if pair[0] != "cursor"]
    query = urlencode(
        [*pairs, ("cursor", cursor)], errors="surrogateescape", quote_via=quote, safe=""
    )
    path = url_for(str(request.endpoint), **(request.view_args or {}))
    return f'<{path}?{query}>; rel="next"'


def _serializer(scope: tuple[object, ...]) -> URLSafeSerializer:
    # The scope is signed with the position but not repeated in the cursor.
    salt = json.dumps(["taskapi.cursor", *scope])
    return URLSafeSerializer(config.current().jwt_secret, salt=salt)
