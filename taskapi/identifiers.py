"""UUIDs as clients write them."""

from __future__ import annotations

from uuid import UUID


def parse_uuid(text: str) -> str | None:
    """Return a UUID in lower case, or None unless it is written as RFC 9562 shows it.

    Python's own parser also takes braces, `urn:uuid:` and any number of dashes.
    """
    text = text.lower()
    try:
        return text if str(UUID(text)) == text else None
    except ValueError:
        return None
