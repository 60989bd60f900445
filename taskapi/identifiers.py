"""UUIDs as clients write them."""

from __future__ import annotations

import re

# As RFC 9562 shows them. Python's own parser also takes braces, `urn:uuid:` and any dashes.
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def parse_uuid(text: str) -> str | None:
    """Return a UUID in lower case, or None for any other text."""
    text = text.lower()
    return text if UUID.fullmatch(text) else None
