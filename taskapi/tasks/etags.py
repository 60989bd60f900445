"""Entity tags and conditional requests (RFC 9110, 8.8.3 and 13.1).

A task's tag is its `updated_at`, which grows with every change, and a hash of the names of its
members, so that a release that adds a member also changes the tag. If-Match compares the first part
only: it asks whether the task has changed, not how it is shown. A tag that can't be read matches
nothing: such an If-Match gets 412, such an If-None-Match the full response.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from hashlib import blake2b
from typing import Any

from flask import request
from werkzeug.http import parse_etags

Task = dict[str, Any]

# The values of `updated_at` that a task may have for it to be written; None for any.
Versions = list[datetime] | None

# Release 0.1 had no hash of the members.
TAG = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)(-[0-9a-f]{8})?"
)


def tag_task(task: Task) -> str:
    """Return the strong tag of a task, without its quotes."""
    return f"{task['updated_at']}-{_hash_names(tuple(task))}"


def tag_list(tasks: list[Task], link: str) -> str:
    """Return the strong tag of a page. Another task, version, order or Link makes another tag."""
    rows = (task["id"] + tag_task(task) for task in tasks)
    return _hash([link, *rows], size=16)


def tag_changes(changes: list[Task], token: str) -> str:
    """Return the strong tag of a page of the change feed."""
    rows = (tag_task(change) if "updated_at" in change else change["id"] for change in changes)
    return _hash([token, *rows], size=16)


def is_creation() -> bool:
    """Tell whether the request is only for a task that doesn't exist: `If-None-Match: *`."""
    return parse_etags(request.headers.get("If-None-Match")).star_tag


def is_known(tag: str) -> bool:
    """Tell whether If-None-Match names the tag, by the weak comparison."""
    return parse_etags(request.headers.get("If-None-Match")).contains_weak(tag)


def read_versions() -> Versions:
    """Return the versions of a task that If-Match names, by the strong comparison."""
    return parse_versions(request.headers.get("If-Match"))


def parse_versions(header: str | None) -> Versions:
    """Return the versions that an If-Match of this value names; None for any."""
    tags = parse_etags(header)
    if header is None or tags.star_tag:
        return None
    return [version for tag in tags if (version := _parse_version(tag)) is not None]


@cache
def _hash_names(names: tuple[str, ...]) -> str:
    return _hash(names, size=4)


def _hash(parts: Iterable[str], size: int) -> str:
    return blake2b("\n".join(parts).encode(), digest_size=size).hexdigest()


def _parse_version(tag: str | None) -> datetime | None:
    # Werkzeug reads an empty tag, "", as None.
    match = TAG.fullmatch(tag or "")
    try:
        return datetime.fromisoformat(match[1]) if match else None
    except ValueError:
        return None
