"""Entity tags and the conditions that clients make of them (RFC 9110, 8.8.3 and 13.1).

A task's tag is its `updated_at`, which the database lets grow with every change. What a client
sends that can't be read as a tag matches nothing: with such an If-Match a write isn't done, with
such an If-None-Match a GET is answered in full.
"""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import blake2b

from flask import request
from werkzeug.http import parse_etags

from taskapi.queries import Task, Versions

UPDATED_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


def tag_task(task: Task) -> str:
    """Return the strong tag of a task, without its quotes."""
    return task["updated_at"]


def tag_list(tasks: list[Task], link: str) -> str:
    """Return the strong tag of a page: any other task, version, order or Link makes another."""
    rows = (task["id"] + task["updated_at"] for task in tasks)
    return blake2b("\n".join([link, *rows]).encode(), digest_size=16).hexdigest()


def is_known(tag: str) -> bool:
    """Tell whether If-None-Match names the tag, by the weak comparison."""
    return parse_etags(request.headers.get("If-None-Match")).contains_weak(tag)


def read_versions() -> Versions:
    """Return the versions of a task that If-Match names, by the strong comparison."""
    header = request.headers.get("If-Match")
    tags = parse_etags(header)
    if header is None or tags.star_tag:
        return None
    return [version for tag in tags if (version := _parse_version(tag)) is not None]


def _parse_version(tag: str | None) -> datetime | None:
    # Werkzeug reads an empty tag, "", as None.
    try:
        return datetime.fromisoformat(tag) if tag and UPDATED_AT.fullmatch(tag) else None
    except ValueError:
        return None
