"""UUIDs as clients write them."""

from __future__ import annotations

import re

# The form of RFC 9562. Python's parser also accepts braces, `urn:uuid:` and misplaced dashes.
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def parse_uuid(text: str) -> str | None:
    """Return a UUID in lower case, or None if the text is not a UUID."""
    text = text.lower()
    return text if UUID.fullmatch(text) else None
